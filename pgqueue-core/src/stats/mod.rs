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

use chrono::{DateTime, Utc};
use diesel::connection::LoadConnection;
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel_async::AsyncConnectionCore;
use std::fmt;
use std::ops::Add;

pub use crate::causes::{CauseStats, cause, cause_async, causes, causes_async};
mod histogram;
mod now;
mod queues;
mod timeline;

pub(crate) use histogram::HISTOGRAM_BARS;
pub use histogram::Histogram;
pub use now::{
    Estimate, OldestWaiting, PauseChange, count_state, count_state_async, estimates,
    estimates_async, oldest_waiting, oldest_waiting_async, pause_changes, pause_changes_async,
};
pub use queues::{
    ActiveStats, EndedStats, QueueStats, active, active_async, ended, ended_async, queues,
    queues_async,
};
pub use timeline::{
    Activity, POINTS, Point, Scope, Timeline, activity, activity_async, timeline, timeline_async,
};

use crate::error::{Error, explain};
use crate::schema::{pgqueue_stats, pgqueue_workers};
use crate::sql::KindStats as KindStatement;

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

impl Count {
    /// Nothing, and that is all.
    pub(crate) const NONE: Self = Self {
        at_least: 0,
        exact: true,
    };

    /// Tells what a count is worth that went on until it was beyond `limit`.
    pub(crate) fn stopped_at(limit: i64, counted: i64) -> Self {
        Self {
            at_least: counted.min(limit),
            exact: counted <= limit,
        }
    }
}

impl Add for Count {
    type Output = Self;

    /// Adds up what was counted: all of it only if both are.
    fn add(self, other: Self) -> Self {
        Self {
            at_least: self.at_least + other.at_least,
            exact: self.exact && other.exact,
        }
    }
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.at_least, if self.exact { "" } else { "+" })
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
