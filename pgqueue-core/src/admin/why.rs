//! Why a job does not run, or what became of it.

use chrono::{DateTime, Utc};
use diesel::connection::LoadConnection;
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel_async::AsyncConnectionCore;

use crate::error::{Error, explain};
use crate::sql::operators::Why;
use crate::state::JobState;
use crate::stats::Count;

/// Where counting the jobs ahead stops.
const AHEAD_LIMIT: i64 = 1000;

/// One thing that keeps a job from running, or that says where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reason {
    /// It is due, and so many due jobs of its queue come first.
    Due {
        /// Jobs that are claimed before it.
        ahead: Count,
    },
    /// It is due, and was lost with a process, which it may have ended: each worker runs one such job at a time, whatever their
    /// priority. So many due ones of its queue come first.
    Suspect {
        /// Such jobs that are claimed before it.
        ahead: Count,
    },
    /// It was enqueued for later.
    Scheduled {
        /// When it is due.
        run_at: DateTime<Utc>,
    },
    /// It has failed, or was snoozed, and waits for its next run.
    Retrying {
        /// When it is due.
        run_at: DateTime<Utc>,
        /// Runs so far.
        attempt: i32,
    },
    /// Its queue is paused.
    QueuePaused {
        /// Since when.
        since: DateTime<Utc>,
    },
    /// No live worker serves its queue.
    NoWorker,
    /// So many live workers serve its queue, and none handles its kind.
    UnknownKind {
        /// Those workers.
        workers: i64,
    },
    /// A worker runs it.
    Running {
        /// Its id.
        worker: i64,
        /// Its name, if it is still registered.
        name: Option<String>,
        /// When the run started.
        since: Option<DateTime<Utc>>,
    },
    /// Somebody asked to stop it, and its worker has not done so yet.
    Cancelling {
        /// When that was.
        requested_at: DateTime<Utc>,
    },
    /// It is done.
    Completed,
    /// It was stopped.
    Cancelled,
    /// It was given up.
    Dead {
        /// Runs it had.
        attempt: i32,
        /// The newest failure, its first 500 characters.
        error: Option<String>,
    },
    /// It cannot be requeued: a pending or running job has its unique key.
    KeyTaken {
        /// That job.
        by: i64,
    },
}

/// The columns of `why.sql`.
#[derive(Debug, Queryable)]
struct Facts {
    state: JobState,
    run_at: DateTime<Utc>,
    is_due: bool,
    attempt: i32,
    started_at: Option<DateTime<Utc>>,
    lost: i32,
    cancel_requested_at: Option<DateTime<Utc>>,
    claimed_by: Option<i64>,
    worker: Option<String>,
    paused_at: Option<DateTime<Utc>>,
    workers: i64,
    able_workers: i64,
    ahead: i64,
    blocker: Option<i64>,
    error: Option<String>,
}

impl Facts {
    fn reasons(self) -> Vec<Reason> {
        match self.state {
            JobState::Pending => self.waits_for(),
            JobState::Running => self.runs(),
            JobState::Completed => self.rests(Reason::Completed),
            JobState::Cancelled => self.rests(Reason::Cancelled),
            JobState::Dead => {
                let (attempt, error) = (self.attempt, self.error.clone());
                self.rests(Reason::Dead { attempt, error })
            }
        }
    }

    fn rests(&self, reason: Reason) -> Vec<Reason> {
        let taken = self.blocker.map(|by| Reason::KeyTaken { by });
        [Some(reason), taken].into_iter().flatten().collect()
    }

    fn runs(self) -> Vec<Reason> {
        let cancelling = self
            .cancel_requested_at
            .map(|requested_at| Reason::Cancelling { requested_at });
        let running = Reason::Running {
            worker: self.claimed_by.unwrap_or_default(),
            name: self.worker,
            since: self.started_at,
        };
        cancelling.into_iter().chain([running]).collect()
    }

    /// What stands in the way for ever comes first, then the time, then the line.
    fn waits_for(self) -> Vec<Reason> {
        let mut reasons = Vec::new();
        let (run_at, attempt) = (self.run_at, self.attempt);
        match (self.is_due, attempt) {
            (true, _) => {}
            (false, 0) => reasons.push(Reason::Scheduled { run_at }),
            (false, _) => reasons.push(Reason::Retrying { run_at, attempt }),
        }
        reasons.extend(self.paused_at.map(|since| Reason::QueuePaused { since }));
        if self.workers == 0 {
            reasons.push(Reason::NoWorker);
        } else if self.able_workers == 0 {
            let workers = self.workers;
            reasons.push(Reason::UnknownKind { workers });
        }
        // Nobody takes the next of a line that stands still.
        let is_stuck = !reasons.is_empty();
        if self.is_due && !(is_stuck && self.ahead == 0) {
            let ahead = Count {
                at_least: self.ahead.min(AHEAD_LIMIT),
                exact: self.ahead <= AHEAD_LIMIT,
            };
            reasons.push(if self.lost > 0 {
                Reason::Suspect { ahead }
            } else {
                Reason::Due { ahead }
            });
        }
        reasons
    }
}

/// Tells why a job does not run, or what became of it, the weightiest reason first; none if there is no such job. On a
/// sync connection.
///
/// # Errors
/// Errors of the database.
pub fn why<C: LoadConnection<Backend = Pg>>(conn: &mut C, id: i64) -> Result<Vec<Reason>, Error> {
    let facts: Option<Facts> = RunQueryDsl::get_result(Why { id }, conn)
        .optional()
        .map_err(explain)?;
    Ok(facts.map(Facts::reasons).unwrap_or_default())
}

/// Tells the same on an async connection.
///
/// # Errors
/// Errors of the database.
///
/// # Cancellation safety
/// It only reads.
pub async fn why_async<C: AsyncConnectionCore<Backend = Pg>>(
    conn: &mut C,
    id: i64,
) -> Result<Vec<Reason>, Error> {
    let read = diesel_async::RunQueryDsl::get_result(Why { id }, conn).await;
    let facts: Option<Facts> = read.optional().map_err(explain)?;
    Ok(facts.map(Facts::reasons).unwrap_or_default())
}
