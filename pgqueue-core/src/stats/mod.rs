//! How the queues are doing, cheaply enough to ask every second: counts stop at a limit, everything else is read from
//! indexes or from the counts that workers store (`pgqueue_stats`).
//!
//! ```no_run
//! use std::time::Duration;
//! use chrono::Utc;
//! use pgqueue_core::stats;
//! # fn example(conn: &mut impl diesel::connection::LoadConnection<Backend = diesel::pg::Pg>) -> Result<(), pgqueue_core::Error> {
//! for queue in stats::queues(conn)? {
//!     println!("{}: {} pending, oldest due {:?}", queue.queue, queue.pending, queue.oldest_due);
//! }
//! for kind in stats::kinds(conn, Utc::now() - Duration::from_secs(3600), Utc::now())? {
//!     println!("{}: {} completed, p99 {:?}", kind.kind, kind.completed, kind.run.percentile(0.99));
//! }
//! # Ok(()) }
//! ```

use std::fmt;
use std::time::Duration;

use chrono::{DateTime, Utc};
use diesel::connection::LoadConnection;
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel_async::AsyncConnectionCore;

pub use crate::causes::{CauseStats, cause, cause_async, causes, causes_async};
mod histogram;
mod now;
mod timeline;

pub(crate) use histogram::HISTOGRAM_BARS;
pub use histogram::Histogram;
pub use now::{
    Estimate, OldestWaiting, PauseChange, count_state, count_state_async, estimates,
    estimates_async, oldest_waiting, oldest_waiting_async, pause_changes, pause_changes_async,
};
pub use timeline::{
    Activity, POINTS, Point, Scope, Timeline, activity, activity_async, timeline, timeline_async,
};

use crate::error::{Error, explain};
use crate::schema::{pgqueue_stats, pgqueue_workers};
use crate::sql::{KindStats as KindStatement, QueueStats as QueueStatement};

/// Where counts stop: beyond, a number is "at least".
pub(crate) const COUNT_LIMIT: i64 = 10_000;

/// A count that stopped at a limit, or did not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct Count {
    /// What was counted.
    pub at_least: i64,
    /// Is true when that is all.
    pub exact: bool,
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.at_least, if self.exact { "" } else { "+" })
    }
}

/// One queue now.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct QueueStats {
    /// Its name.
    pub queue: String,
    /// Since when it is paused.
    pub paused_at: Option<DateTime<Utc>>,
    /// Pending jobs, due and scheduled.
    pub pending: Count,
    /// Pending jobs that may run now.
    pub due: Count,
    /// Pending jobs that wait for their time: scheduled, snoozed, or failed and to be tried again. Which of these is not in
    /// the index that is counted by.
    pub scheduled: Count,
    /// Running jobs.
    pub running: Count,
    /// Completed jobs that retention has kept, among the newest 10,000 of all queues.
    pub completed: Count,
    /// Cancelled jobs, likewise.
    pub cancelled: Count,
    /// Dead jobs, likewise.
    pub dead: Count,
    /// How long the oldest due job has been waiting.
    pub oldest_due: Option<Duration>,
    /// Live workers that serve it.
    pub workers: i64,
}

impl QueueStats {
    /// Gives the numbers of a queue that [`queues`] does not tell of: it has neither jobs nor workers nor a pause.
    #[must_use]
    pub fn empty(queue: impl Into<String>) -> Self {
        let none = Count {
            at_least: 0,
            exact: true,
        };
        Self {
            queue: queue.into(),
            paused_at: None,
            pending: none,
            due: none,
            scheduled: none,
            running: none,
            completed: none,
            cancelled: none,
            dead: none,
            oldest_due: None,
            workers: 0,
        }
    }
}

/// One kind of a queue over a span of time.
#[derive(Debug, Clone, PartialEq, Eq, Queryable)]
#[non_exhaustive]
pub struct KindStats {
    /// The queue.
    pub queue: String,
    /// The kind.
    pub kind: String,
    /// Runs that completed their job.
    pub completed: i64,
    /// Runs that failed.
    pub failed: i64,
    /// Failed runs that left their job dead.
    pub dead: i64,
    /// Runs that ended as cancelled.
    pub cancelled: i64,
    /// Runs that were snoozed.
    pub snoozed: i64,
    /// Runs that ended because their process died, counted by the worker that rescued the job.
    pub lost: i64,
    /// Ends that came too late and changed nothing, counted by the worker that had lost its lease: such a run is counted as
    /// `lost`, too, and nowhere else.
    pub lease_lost: i64,
    /// Run times.
    pub run: Histogram,
    /// Waits, from `run_at` to the claim.
    pub wait: Histogram,
}

impl KindStats {
    /// Gives the numbers of a kind of which nothing ran: to be filled, in tests of what shows them.
    #[must_use]
    pub fn empty(queue: impl Into<String>, kind: impl Into<String>) -> Self {
        Self {
            queue: queue.into(),
            kind: kind.into(),
            completed: 0,
            failed: 0,
            dead: 0,
            cancelled: 0,
            snoozed: 0,
            lost: 0,
            lease_lost: 0,
            run: Histogram::default(),
            wait: Histogram::default(),
        }
    }
}

/// One worker as it registered.
#[derive(Debug, Clone, PartialEq, Queryable, Selectable)]
#[diesel(table_name = pgqueue_workers)]
#[diesel(check_for_backend(Pg))]
#[expect(missing_docs, reason = "the columns are documented in the schema")]
#[non_exhaustive]
pub struct WorkerRow {
    pub id: i64,
    pub name: String,
    pub host: String,
    pub pid: i32,
    pub version: String,
    pub queues: serde_json::Value,
    pub kinds: Vec<String>,
    pub started_at: DateTime<Utc>,
    pub expires_at: DateTime<Utc>,
}

/// One bucket of `pgqueue_stats`: what a worker counted in a minute, or all workers in an hour.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, Selectable)]
#[diesel(table_name = pgqueue_stats)]
#[diesel(check_for_backend(Pg))]
#[expect(missing_docs, reason = "the columns are documented in the schema")]
#[non_exhaustive]
pub struct BucketRow {
    pub bucket: DateTime<Utc>,
    pub worker_id: i64,
    pub completed: i64,
    pub failed: i64,
    pub dead: i64,
    pub cancelled: i64,
    pub snoozed: i64,
    pub lost: i64,
    pub lease_lost: i64,
    pub run_ms_sum: i64,
    pub wait_ms_sum: i64,
    pub queue: String,
    pub kind: String,
}

/// Tells how each queue is doing, on a sync connection. Queues are those that have jobs, workers or a pause.
///
/// # Errors
/// Errors of the database.
pub fn queues<C: LoadConnection<Backend = Pg>>(conn: &mut C) -> Result<Vec<QueueStats>, Error> {
    let rows: Vec<QueueRow> =
        RunQueryDsl::load(QueueStatement { limit: COUNT_LIMIT }, conn).map_err(explain)?;
    Ok(rows.into_iter().map(QueueStats::from).collect())
}

/// Tells how each queue is doing, on an async connection.
///
/// # Errors
/// Errors of the database.
pub async fn queues_async<C: AsyncConnectionCore<Backend = Pg>>(
    conn: &mut C,
) -> Result<Vec<QueueStats>, Error> {
    let load =
        diesel_async::RunQueryDsl::load::<QueueRow>(QueueStatement { limit: COUNT_LIMIT }, conn);
    Ok(load
        .await
        .map_err(explain)?
        .into_iter()
        .map(QueueStats::from)
        .collect())
}

/// Sums what workers counted from `from` until `to`, by queue and kind, on a sync connection.
///
/// Workers store their counts every 5 s; after two days minutes are folded to hours.
///
/// # Errors
/// Errors of the database.
pub fn kinds<C>(
    conn: &mut C,
    from: DateTime<Utc>,
    to: DateTime<Utc>,
) -> Result<Vec<KindStats>, Error>
where
    C: LoadConnection<Backend = Pg>,
{
    RunQueryDsl::load(KindStatement { from, to }, conn).map_err(|error| explain(error).into())
}

/// Sums what workers counted from `from` until `to`, by queue and kind, on an async connection.
///
/// # Errors
/// Errors of the database.
pub async fn kinds_async<C>(
    conn: &mut C,
    from: DateTime<Utc>,
    to: DateTime<Utc>,
) -> Result<Vec<KindStats>, Error>
where
    C: AsyncConnectionCore<Backend = Pg>,
{
    diesel_async::RunQueryDsl::load(KindStatement { from, to }, conn)
        .await
        .map_err(|error| explain(error).into())
}

type QueueRow = (
    String,
    Option<DateTime<Utc>>,
    (i64, i64, i64, i64, i64, i64),
    (bool, bool, bool, bool),
    Option<f64>,
    i64,
);

impl From<QueueRow> for QueueStats {
    fn from((queue, paused_at, counts, exact, oldest, workers): QueueRow) -> Self {
        let (due, scheduled, running, completed, cancelled, dead) = counts;
        let count = |counted: i64, exact| Count {
            at_least: counted.min(COUNT_LIMIT),
            exact,
        };
        Self {
            queue,
            paused_at,
            pending: Count {
                at_least: due.min(COUNT_LIMIT) + scheduled.min(COUNT_LIMIT),
                exact: due <= COUNT_LIMIT && scheduled <= COUNT_LIMIT,
            },
            due: count(due, due <= COUNT_LIMIT),
            scheduled: count(scheduled, scheduled <= COUNT_LIMIT),
            running: count(running, exact.0),
            completed: count(completed, exact.1),
            cancelled: count(cancelled, exact.2),
            dead: count(dead, exact.3),
            oldest_due: oldest.map(|seconds| Duration::from_secs_f64(seconds.max(0.0))),
            workers,
        }
    }
}
