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

pub use crate::causes::{CauseStats, causes, causes_async};
use crate::error::{Error, explain};
use crate::schema::{pgqueue_stats, pgqueue_workers};
use crate::sql::{KindStats as KindStatement, QueueStats as QueueStatement};

/// Where counts stop: beyond, a number is "at least".
pub(crate) const COUNT_LIMIT: i64 = 10_000;

/// Bars of a [`Histogram`]: under 1 ms, then up to 1, 2, 4 … ms; the last holds everything from about 70 minutes on.
pub(crate) const HISTOGRAM_BARS: usize = 24;

/// A count that stopped at a limit, or did not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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

/// Counts of lengths of time by power of two milliseconds.
#[derive(Debug, Clone, PartialEq, Eq, diesel::deserialize::FromSqlRow)]
pub struct Histogram(Vec<i64>);

impl diesel::deserialize::FromSql<diesel::sql_types::Array<diesel::sql_types::BigInt>, Pg>
    for Histogram
{
    fn from_sql(value: diesel::pg::PgValue<'_>) -> diesel::deserialize::Result<Self> {
        Ok(Self(diesel::deserialize::FromSql::<
            diesel::sql_types::Array<diesel::sql_types::BigInt>,
            Pg,
        >::from_sql(value)?))
    }
}

impl Histogram {
    /// Gives how many were counted.
    #[must_use]
    pub fn count(&self) -> i64 {
        self.0.iter().sum()
    }

    /// Gives the bars: an upper bound and the count up to it, above the bound before.
    pub fn bars(&self) -> impl Iterator<Item = (Duration, i64)> + '_ {
        self.0
            .iter()
            .enumerate()
            .map(|(bar, count)| (Duration::from_millis(1 << bar), *count))
    }

    /// Gives an upper bound of the length that `share` (0 to 1) of all stay under, right to a factor of two.
    #[must_use]
    pub fn percentile(&self, share: f64) -> Option<Duration> {
        #[expect(
            clippy::cast_precision_loss,
            reason = "counts of runs stay far below 2^52"
        )]
        let wanted = self.count() as f64 * share.clamp(0.0, 1.0);
        let mut seen = 0;
        self.bars().find_map(|(bound, count)| {
            seen += count;
            #[expect(clippy::cast_precision_loss, reason = "as above")]
            let reached = count > 0 && seen as f64 >= wanted;
            reached.then_some(bound)
        })
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
    (i64, i64, i64, i64, i64),
    (bool, bool, bool, bool),
    Option<f64>,
    i64,
);

impl From<QueueRow> for QueueStats {
    fn from((queue, paused_at, counts, exact, oldest, workers): QueueRow) -> Self {
        let (pending, running, completed, cancelled, dead) = counts;
        let count = |counted: i64, exact| Count {
            at_least: counted.min(COUNT_LIMIT),
            exact,
        };
        Self {
            queue,
            paused_at,
            pending: count(pending, pending <= COUNT_LIMIT),
            running: count(running, exact.0),
            completed: count(completed, exact.1),
            cancelled: count(cancelled, exact.2),
            dead: count(dead, exact.3),
            oldest_due: oldest.map(|seconds| Duration::from_secs_f64(seconds.max(0.0))),
            workers,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_the_bound_that_so_many_stay_under() {
        let histogram = Histogram(vec![0, 90, 0, 9, 1]);
        assert_eq!(histogram.percentile(0.5), Some(Duration::from_millis(2)));
        assert_eq!(histogram.percentile(0.99), Some(Duration::from_millis(8)));
        assert_eq!(histogram.percentile(1.0), Some(Duration::from_millis(16)));
        assert_eq!(Histogram(vec![0; 24]).percentile(0.5), None);
    }
}
