//! Takes jobs back from workers that died.
//!
//! A worker whose row has expired is deleted first, and that commit is the fence: a beat that races either renews the
//! row before or finds none after. Only then are running jobs taken whose owner has no row, by the ids read in between:
//! a subquery on the workers inside the `UPDATE` took jobs of live workers. Called only by a worker whose own beats have
//! succeeded for a whole lease, so that an outage of the database makes nobody dead.

use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::error::Error;
use crate::model::Span;
use crate::source::Link;
use crate::sql::{ExpireWorkers, Lost, Rescue as RescueStatement, RescueOverdue};
use crate::state::JobState;

/// Jobs a statement: its locks last a few milliseconds.
const BATCH: i64 = 500;

/// Settings.
pub(super) struct Rescue {
    pub(super) lease: Duration,
    pub(super) max_lost: i32,
    pub(super) base_wait: Duration,
}

/// A job that was taken: id, queue, kind, its state now, and the time of that.
pub(crate) type Taken = (i64, String, String, JobState, DateTime<Utc>);

/// What a pass did.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Rescued {
    pub(super) workers: usize,
    pub(super) jobs: Vec<Taken>,
}

impl Rescue {
    /// Looks for dead workers and takes all their jobs. `judge`: this worker.
    pub(super) async fn run_once(&self, link: &mut Link, judge: i64) -> Result<Rescued, Error> {
        let mut rescued = Rescued::default();
        let (has_expired, mut owners, overdue) = self.look(link).await?;
        if has_expired {
            let expired: Vec<i64> = link.load(ExpireWorkers { judge }).await?;
            for id in &expired {
                tracing::warn!(
                    worker.id = id,
                    "a worker has not renewed its lease and is taken for dead"
                );
            }
            rescued.workers = expired.len();
            (_, owners, _) = self.look(link).await?;
        }
        while !owners.is_empty() {
            let statement = RescueStatement {
                owners: &owners,
                max_lost: self.max_lost,
                base_wait: self.base_wait.as_secs_f64(),
                limit: BATCH,
            };
            let taken: Vec<Taken> = link.load(statement).await?;
            if taken.is_empty() {
                break; // the rest is locked by somebody: next time
            }
            log(&taken, "its worker died");
            rescued.jobs.extend(taken);
        }
        if overdue {
            let statement = RescueOverdue {
                lease: Span(self.lease),
                limit: BATCH,
            };
            let taken: Vec<Taken> = link.load(statement).await?;
            log(&taken, "its worker does not enforce its deadline");
            rescued.jobs.extend(taken);
        }
        Ok(rescued)
    }

    /// Tells whether a worker has expired, the owners of running jobs that have no row, and whether a job is overdue.
    async fn look(&self, link: &mut Link) -> Result<(bool, Vec<i64>, bool), Error> {
        let lease = Span(self.lease);
        let answer = link.load(Lost { lease }).await?;
        Ok(answer.into_iter().next().unwrap_or_default())
    }
}

fn log(taken: &[Taken], cause: &str) {
    for (id, queue, kind, state, _) in taken {
        match state {
            JobState::Dead => {
                tracing::error!(job.id = id, queue, kind, error = cause, "job is dead");
            }
            _ => tracing::warn!(
                job.id = id,
                queue,
                kind,
                state = state.name(),
                error = cause,
                "rescued a job"
            ),
        }
    }
}
