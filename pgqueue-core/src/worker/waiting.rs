//! Jobs that are claimed and wait for a slot of their lane, in the order in which they will start: by priority, then in the
//! order of claims.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::cursor::PRIORITIES;
use super::engine::Engine;
use super::execute::Claimed;
use super::flights::{Stop, StopReason};
use super::shutdown::Phase;
use crate::context::Run;
use crate::outcome::Ending;

/// A claimed job that waits for a slot. This process knows of it: it is cancelled and reconciled as if it ran.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) claimed: Claimed,
    pub(super) stop: Stop,
    pub(super) since: Instant,
}

impl Waiting {
    pub(super) fn new(engine: &Engine, claimed: Claimed, since: Instant) -> Self {
        let stop = engine.flights.add((claimed.id, claimed.fencing_token));
        if engine.shutdown.phase() == Phase::Stopping {
            stop.fire(StopReason::Shutdown); // claimed while the others were told
        }
        Self {
            claimed,
            stop,
            since,
        }
    }

    /// Splits it into the run, its payload or why that cannot be read, and its stop signal.
    pub(super) fn into_run(
        self,
        engine: &Engine,
    ) -> (Run, Result<serde_json::Value, Ending>, Stop) {
        let waited: Duration = self.since.elapsed();
        let keeps_completed = engine.config.keeps_completed();
        let (mut run, payload) = self
            .claimed
            .into_run(self.stop.token.clone(), keeps_completed);
        run.connections = Some(engine.connections.clone());
        run.waited += waited;
        (run, payload, self.stop)
    }
}

/// The jobs of one lane that wait.
#[derive(Debug, Default)]
pub(super) struct Line {
    priorities: [VecDeque<Waiting>; PRIORITIES],
    length: usize,
}

impl Line {
    pub(super) fn len(&self) -> usize {
        self.length
    }

    pub(super) fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Adds a job behind those of its priority.
    pub(super) fn push(&mut self, job: Waiting) {
        let priority = job.claimed.place().priority.min(PRIORITIES - 1);
        self.priorities[priority].push_back(job);
        self.length += 1;
    }

    /// Gives since when the next job waits.
    pub(super) fn first_since(&self) -> Option<Instant> {
        let mut jobs = self.priorities.iter().filter_map(VecDeque::front);
        jobs.next().map(|job| job.since)
    }

    /// Takes the next job.
    pub(super) fn pop(&mut self) -> Option<Waiting> {
        let job = self.priorities.iter_mut().find_map(VecDeque::pop_front)?;
        self.length -= 1;
        Some(job)
    }

    /// Gives since when the job waits that has waited for the longest.
    pub(super) fn oldest(&self) -> Option<Instant> {
        let fronts = self.priorities.iter().filter_map(VecDeque::front);
        fronts.map(|job| job.since).min()
    }

    /// Takes out the jobs that have waited since before this time.
    pub(super) fn take_since(&mut self, before: Instant) -> Vec<Waiting> {
        let late = |jobs: &mut VecDeque<Waiting>| {
            let count = jobs.partition_point(|job| job.since <= before);
            jobs.drain(..count).collect::<Vec<_>>()
        };
        let taken: Vec<Waiting> = self.priorities.iter_mut().flat_map(late).collect();
        self.length -= taken.len();
        taken
    }
}
