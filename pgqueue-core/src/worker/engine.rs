//! What the worker's tasks share. Each task owns its connection; what crosses between them is here.

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use tokio::sync::{Notify, mpsc, watch};

use super::config::{Config, Lane};
use super::ends::Finish;
use super::flights::{Flights, StopReason};
use super::registry::Registry;
use super::shutdown::{Phase, WorkerHandle};
use super::slots::Slots;
use super::tally::Tally;
use crate::source::Connections;

/// One running worker.
pub(super) struct Engine {
    pub(super) config: Config,
    pub(super) lanes: Vec<Lane>,
    pub(super) kinds: Vec<String>,
    pub(super) registry: Registry,
    pub(super) connections: Connections,
    pub(super) shutdown: WorkerHandle,
    pub(super) until_empty: bool,
    /// The worker's id: a new one after each registration.
    pub(super) identity: watch::Sender<i64>,
    /// When it was first registered.
    pub(super) registered_at: DateTime<Utc>,
    /// The schema's NOTIFY channel.
    pub(super) channel: String,
    pub(super) slots: Arc<Slots>,
    pub(super) flights: Flights,
    pub(super) wakes: Wakes,
    pub(super) finished: mpsc::UnboundedSender<Finish>,
    pub(super) tally: Mutex<Tally>,
    pub(super) pulse: Pulse,
    /// Number of the newest claim whose answer has arrived, or never will.
    pub(super) ended_batch: AtomicI64,
    /// Notifications arrive: cancellations need no fast poll.
    pub(super) listening: AtomicBool,
    /// Somebody said that a running job is to be stopped: ask the database which.
    pub(super) cancel_asked: Notify,
}

impl Engine {
    pub(super) fn worker_id(&self) -> i64 {
        *self.identity.borrow()
    }

    /// Gives the names of the served queues, in the order of the lanes.
    pub(super) fn queues(&self) -> Vec<String> {
        self.lanes.iter().map(|lane| lane.queue.clone()).collect()
    }

    pub(super) fn is_running(&self) -> bool {
        self.shutdown.is_running()
    }

    /// Takes a new id after the old one was given up for dead: what runs has lost its lease.
    pub(super) fn reregistered(&self, id: i64) {
        tracing::warn!(
            old.id = self.worker_id(),
            worker.id = id,
            "the worker's lease ran out; it goes on under a new id"
        );
        self.flights.stop_all(StopReason::LeaseLost);
        self.identify(id);
    }

    /// Goes by an id from now on.
    pub(super) fn identify(&self, id: i64) {
        self.with_tally(|tally| tally.go_on_as(id));
        self.identity.send_replace(id);
    }

    pub(super) fn with_tally<T>(&self, change: impl FnOnce(&mut Tally) -> T) -> T {
        change(&mut self.tally.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Waits, but not beyond the phase.
    pub(super) async fn sleep_unless(&self, phase: Phase, length: Duration) {
        tokio::select! {
            () = tokio::time::sleep(length) => {}
            () = self.shutdown.reached(phase) => {}
        }
    }
}

/// Queues that the listener heard of, until the fetch loop takes them.
#[derive(Debug, Default)]
pub(super) struct Wakes {
    heard: Mutex<Heard>,
    notify: Notify,
}

/// What was heard.
#[derive(Debug, Default)]
pub(super) struct Heard {
    pub(super) all: bool,
    pub(super) queues: Vec<String>,
    /// A worker that has set a mark cannot re-poll.
    pub(super) asked_to_repoll: bool,
}

impl Wakes {
    pub(super) fn wake(&self, queue: &str) {
        self.change(|heard| heard.queues.push(queue.to_owned()));
    }

    /// Asks for re-polls.
    pub(super) fn ask_to_repoll(&self) {
        self.change(|heard| heard.asked_to_repoll = true);
    }

    /// Wakes every queue: anything may have been missed.
    pub(super) fn wake_all(&self) {
        self.change(|heard| heard.all = true);
    }

    /// Resolves with what was heard since the last call resolved.
    pub(super) async fn heard(&self) -> Heard {
        self.notify.notified().await;
        std::mem::take(&mut self.heard.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn change(&self, change: impl FnOnce(&mut Heard)) {
        change(&mut self.heard.lock().unwrap_or_else(PoisonError::into_inner));
        self.notify.notify_one();
    }
}

/// Since when this worker's own beats have succeeded without an outage in between.
#[derive(Debug, Default)]
pub(super) struct Pulse(Mutex<Option<Beats>>);

#[derive(Debug, Clone, Copy)]
struct Beats {
    since: Instant,
    last: Instant,
}

impl Pulse {
    /// Notes a beat that the database confirmed.
    pub(super) fn beat(&self, now: Instant, lease: Duration) {
        let mut beats = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let since = beats
            .filter(|beats| !is_outage(now.duration_since(beats.last), lease))
            .map_or(now, |beats| beats.since);
        *beats = Some(Beats { since, last: now });
    }

    /// Is true when the beats have succeeded for a whole lease, up to now: only then may this worker judge others.
    /// After an outage of the database every live worker has had the time to renew its own lease.
    pub(super) fn may_judge(&self, now: Instant, lease: Duration) -> bool {
        let beats = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        beats.is_some_and(|beats| {
            now.duration_since(beats.since) >= lease
                && !is_outage(now.duration_since(beats.last), lease)
        })
    }
}

/// Is true when the gap between two beats, or since the newest, may have cost others their lease: a live worker's newest
/// beat is up to a third of it older than the outage, and it needs the rest to connect and beat again.
fn is_outage(gap: Duration, lease: Duration) -> bool {
    gap > lease / 2
}

impl Engine {
    pub(super) fn end_batch(&self, batch: i64) {
        self.ended_batch.store(batch, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_judges_others_only_after_a_lease_of_beats_of_its_own() {
        let (start, lease) = (Instant::now(), Duration::from_secs(30));
        let at = |seconds| start + Duration::from_secs(seconds);
        let pulse = Pulse::default();
        assert!(!pulse.may_judge(start, lease));
        for second in (0..=30).step_by(10) {
            pulse.beat(at(second), lease);
        }
        assert!(pulse.may_judge(at(30), lease));
        assert!(pulse.may_judge(at(45), lease));
        assert!(
            !pulse.may_judge(at(46), lease),
            "the newest beat is too old"
        );
        pulse.beat(at(50), lease);
        assert!(
            !pulse.may_judge(at(50), lease),
            "an outage shorter than a lease starts the count anew: who beat before this worker has no lease left"
        );
        for second in (60..=80).step_by(10) {
            pulse.beat(at(second), lease);
        }
        assert!(pulse.may_judge(at(80), lease));
    }
}
