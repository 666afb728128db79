//! The registered workers and what each of them runs: read from their rows and from the index of running jobs.
//!
//! ```no_run
//! use pgqueue_core::workers;
//! # fn example(conn: &mut impl diesel::connection::LoadConnection<Backend = diesel::pg::Pg>) -> Result<(), pgqueue_core::Error> {
//! for worker in workers::list(conn)? {
//!     println!("{} runs {} jobs, live: {}", worker.name, worker.running, worker.live);
//! }
//! # Ok(()) }
//! ```

use chrono::{DateTime, Utc};
use diesel::connection::LoadConnection;
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel_async::AsyncConnectionCore;

use crate::error::{Error, explain};
use crate::sql::operators::{WorkerJobs, Workers};
use crate::stats::Count;

/// Most workers that are listed.
pub const WORKERS_LIMIT: i64 = 500;
/// Most jobs of one worker that are counted.
const COUNT_LIMIT: i64 = 1000;

/// A registered worker.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct WorkerStats {
    /// Its number, which running jobs carry as `claimed_by`.
    pub id: i64,
    /// Its name.
    pub name: String,
    /// The host that it runs on.
    pub host: String,
    /// Its process there.
    pub pid: i32,
    /// The version of pgqueue that it was built with.
    pub version: String,
    /// Its queues, each with how many jobs it runs of it at once.
    pub queues: Vec<(String, i64)>,
    /// The kinds that it handles.
    pub kinds: Vec<String>,
    /// When it registered.
    pub started_at: DateTime<Utc>,
    /// When its lease ends unless a heartbeat renews it, which happens three times a lease.
    pub expires_at: DateTime<Utc>,
    /// Is true while its lease has not run out, by the database's clock.
    pub live: bool,
    /// When this was read, by the database's clock.
    pub read_at: DateTime<Utc>,
    /// Jobs that it runs.
    pub running: Count,
    /// When the oldest of these runs began.
    pub oldest_run: Option<DateTime<Utc>>,
}

impl WorkerStats {
    /// Gives how many jobs it runs at once, of all of its queues.
    #[must_use]
    pub fn concurrency(&self) -> i64 {
        self.queues.iter().map(|(_, concurrency)| concurrency).sum()
    }
}

/// A job that a worker runs.
#[derive(Debug, Clone, PartialEq, Eq, Queryable)]
#[non_exhaustive]
pub struct WorkerJob {
    /// The job.
    pub id: i64,
    /// Its queue.
    pub queue: String,
    /// Its kind.
    pub kind: String,
    /// Which run this is.
    pub attempt: i32,
    /// When the run began.
    pub started_at: Option<DateTime<Utc>>,
    /// When it must have ended.
    pub deadline_at: Option<DateTime<Utc>>,
    /// Since when somebody wants it stopped.
    pub cancel_requested_at: Option<DateTime<Utc>>,
}

/// Lists the registered workers, live ones first, at most [`WORKERS_LIMIT`], on a sync connection.
///
/// # Errors
/// Errors of the database.
pub fn list<C: LoadConnection<Backend = Pg>>(conn: &mut C) -> Result<Vec<WorkerStats>, Error> {
    let rows: Vec<Row> = RunQueryDsl::load(workers(None), conn).map_err(explain)?;
    Ok(rows.into_iter().map(WorkerStats::from).collect())
}

/// Lists the registered workers, on an async connection. Effect and errors are those of [`list`].
///
/// # Errors
/// As [`list`].
pub async fn list_async<C>(conn: &mut C) -> Result<Vec<WorkerStats>, Error>
where
    C: AsyncConnectionCore<Backend = Pg>,
{
    let load = diesel_async::RunQueryDsl::load::<Row>(workers(None), conn);
    let rows = load.await.map_err(explain)?;
    Ok(rows.into_iter().map(WorkerStats::from).collect())
}

/// Finds one worker, on a sync connection.
///
/// # Errors
/// Errors of the database.
pub fn find<C>(conn: &mut C, id: i64) -> Result<Option<WorkerStats>, Error>
where
    C: LoadConnection<Backend = Pg>,
{
    let rows: Vec<Row> = RunQueryDsl::load(workers(Some(id)), conn).map_err(explain)?;
    Ok(rows.into_iter().next().map(WorkerStats::from))
}

/// Finds one worker, on an async connection.
///
/// # Errors
/// Errors of the database.
pub async fn find_async<C>(conn: &mut C, id: i64) -> Result<Option<WorkerStats>, Error>
where
    C: AsyncConnectionCore<Backend = Pg>,
{
    let load = diesel_async::RunQueryDsl::load::<Row>(workers(Some(id)), conn);
    let rows = load.await.map_err(explain)?;
    Ok(rows.into_iter().next().map(WorkerStats::from))
}

/// Lists what a worker runs, the longest runs first, at most `limit` jobs and never more than 1,000, on a sync connection.
///
/// # Errors
/// Errors of the database.
pub fn jobs<C>(conn: &mut C, worker: i64, limit: i64) -> Result<Vec<WorkerJob>, Error>
where
    C: LoadConnection<Backend = Pg>,
{
    RunQueryDsl::load(worker_jobs(worker, limit), conn).map_err(|error| explain(error).into())
}

/// Lists what a worker runs, on an async connection. Effect and errors are those of [`jobs`].
///
/// # Errors
/// As [`jobs`].
pub async fn jobs_async<C>(conn: &mut C, worker: i64, limit: i64) -> Result<Vec<WorkerJob>, Error>
where
    C: AsyncConnectionCore<Backend = Pg>,
{
    diesel_async::RunQueryDsl::load(worker_jobs(worker, limit), conn)
        .await
        .map_err(|error| explain(error).into())
}

fn workers(worker: Option<i64>) -> Workers {
    Workers {
        workers: WORKERS_LIMIT,
        jobs: COUNT_LIMIT,
        worker,
    }
}

fn worker_jobs(worker: i64, limit: i64) -> WorkerJobs {
    WorkerJobs {
        worker,
        limit: limit.clamp(0, COUNT_LIMIT),
    }
}

type Row = (
    i64,
    String,
    String,
    i32,
    String,
    serde_json::Value,
    Vec<String>,
    DateTime<Utc>,
    DateTime<Utc>,
    bool,
    DateTime<Utc>,
    i64,
    Option<DateTime<Utc>>,
);

impl From<Row> for WorkerStats {
    fn from(row: Row) -> Self {
        let (id, name, host, pid, version, queues, kinds, started_at, expires_at, live, ..) = row;
        let queues = queues.as_object().into_iter().flatten();
        Self {
            id,
            name,
            host,
            pid,
            version,
            queues: queues
                .map(|(queue, concurrency)| (queue.clone(), concurrency.as_i64().unwrap_or(0)))
                .collect(),
            kinds,
            started_at,
            expires_at,
            live,
            read_at: row.10,
            running: Count {
                at_least: row.11.min(COUNT_LIMIT),
                exact: row.11 <= COUNT_LIMIT,
            },
            oldest_run: row.12,
        }
    }
}
