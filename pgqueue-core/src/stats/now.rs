//! What waits now, how many jobs there are about, and who paused a queue.

use chrono::{DateTime, Utc};
use diesel::connection::LoadConnection;
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel_async::AsyncConnectionCore;

use crate::error::{Error, explain};
use crate::sql::stats::{CountState, Estimates, OldestWaiting as OldestStatement, PauseChanges};
use crate::state::JobState;

/// Most jobs that [`oldest_waiting`] lists.
const MOST_WAITING: i64 = 100;
/// Most entries of the audit that are looked at for a queue.
const AUDIT_LOOK: i64 = 10_000;
/// Most changes of a pause that are listed.
const MOST_CHANGES: i64 = 10;

/// A job that is due and not claimed yet.
#[derive(Debug, Clone, PartialEq, Eq, Queryable)]
#[non_exhaustive]
pub struct OldestWaiting {
    /// Its id.
    pub id: i64,
    /// Its queue.
    pub queue: String,
    /// Its kind.
    pub kind: String,
    /// Its priority.
    pub priority: i16,
    /// Runs so far.
    pub attempt: i32,
    /// Since when it is due.
    pub due_at: DateTime<Utc>,
    /// Is true when its queue is paused.
    pub paused: bool,
}

/// About how many jobs a state has.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Estimate {
    /// The state.
    pub state: JobState,
    /// About so many, as VACUUM or ANALYZE last saw them; none: they have not seen them yet.
    pub about: Option<f64>,
}

/// A pause or a resume of a queue, as the audit has it.
#[derive(Debug, Clone, PartialEq, Eq, Queryable)]
#[non_exhaustive]
pub struct PauseChange {
    /// The entry of the audit.
    pub id: i64,
    /// When.
    pub at: DateTime<Utc>,
    /// Who.
    pub actor: String,
    /// `pause` or `resume`.
    pub action: String,
    /// Why, if somebody said so.
    pub reason: Option<String>,
}

/// Lists the `limit` jobs (at most 100) that have been due for the longest, of all queues, on a sync connection.
///
/// # Errors
/// Errors of the database.
pub fn oldest_waiting<C>(conn: &mut C, limit: i64) -> Result<Vec<OldestWaiting>, Error>
where
    C: LoadConnection<Backend = Pg>,
{
    RunQueryDsl::load(oldest(limit), conn).map_err(|error| explain(error).into())
}

/// Lists the `limit` jobs (at most 100) that have been due for the longest, of all queues, on an async connection.
///
/// # Errors
/// Errors of the database.
pub async fn oldest_waiting_async<C>(conn: &mut C, limit: i64) -> Result<Vec<OldestWaiting>, Error>
where
    C: AsyncConnectionCore<Backend = Pg>,
{
    diesel_async::RunQueryDsl::load(oldest(limit), conn)
        .await
        .map_err(|error| explain(error).into())
}

fn oldest(limit: i64) -> OldestStatement {
    OldestStatement {
        limit: limit.clamp(0, MOST_WAITING),
    }
}

/// Tells about how many jobs each state has, on a sync connection: from the catalogue, whatever their number.
///
/// # Errors
/// Errors of the database.
pub fn estimates<C: LoadConnection<Backend = Pg>>(conn: &mut C) -> Result<Vec<Estimate>, Error> {
    let rows = RunQueryDsl::load(Estimates {}, conn).map_err(explain)?;
    Ok(read_estimates(rows))
}

/// Tells about how many jobs each state has, on an async connection.
///
/// # Errors
/// Errors of the database.
pub async fn estimates_async<C>(conn: &mut C) -> Result<Vec<Estimate>, Error>
where
    C: AsyncConnectionCore<Backend = Pg>,
{
    let rows = diesel_async::RunQueryDsl::load(Estimates {}, conn);
    Ok(read_estimates(rows.await.map_err(explain)?))
}

fn read_estimates(rows: Vec<(String, Option<f64>)>) -> Vec<Estimate> {
    rows.into_iter()
        .filter_map(|(state, about)| {
            let state = state.parse().ok()?;
            Some(Estimate { state, about })
        })
        .collect()
}

/// Counts all jobs of a state, on a sync connection. It visits every one of them: set a `statement_timeout`.
///
/// # Errors
/// Errors of the database.
pub fn count_state<C>(conn: &mut C, state: JobState) -> Result<i64, Error>
where
    C: LoadConnection<Backend = Pg>,
{
    let state = state.name();
    RunQueryDsl::get_result(CountState { state }, conn).map_err(|error| explain(error).into())
}

/// Counts all jobs of a state, on an async connection. It visits every one of them: set a `statement_timeout`.
///
/// # Errors
/// Errors of the database.
pub async fn count_state_async<C>(conn: &mut C, state: JobState) -> Result<i64, Error>
where
    C: AsyncConnectionCore<Backend = Pg>,
{
    let state = state.name();
    diesel_async::RunQueryDsl::get_result(CountState { state }, conn)
        .await
        .map_err(|error| explain(error).into())
}

/// Tells who paused and resumed a queue, the newest first, on a sync connection: at most ten, among the newest 10,000
/// entries of the audit.
///
/// # Errors
/// Errors of the database.
pub fn pause_changes<C>(conn: &mut C, queue: &str) -> Result<Vec<PauseChange>, Error>
where
    C: LoadConnection<Backend = Pg>,
{
    RunQueryDsl::load(changes(queue), conn).map_err(|error| explain(error).into())
}

/// Tells who paused and resumed a queue, the newest first, on an async connection.
///
/// # Errors
/// Errors of the database.
pub async fn pause_changes_async<C>(conn: &mut C, queue: &str) -> Result<Vec<PauseChange>, Error>
where
    C: AsyncConnectionCore<Backend = Pg>,
{
    diesel_async::RunQueryDsl::load(changes(queue), conn)
        .await
        .map_err(|error| explain(error).into())
}

fn changes(queue: &str) -> PauseChanges<'_> {
    PauseChanges {
        queue,
        looked_at: AUDIT_LOOK,
        limit: MOST_CHANGES,
    }
}
