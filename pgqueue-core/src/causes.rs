//! Dead jobs by cause: the fingerprint that the database gives a job's newest error when the job dies.

use chrono::{DateTime, Utc};
use diesel::connection::LoadConnection;
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel_async::AsyncConnectionCore;

use crate::error::{Error, explain};
use crate::sql::operators::Causes;
use crate::stats::{COUNT_LIMIT, Count};

/// Most causes that one look tells of.
const CAUSES_LIMIT: i64 = 500;
/// The hours of a trend.
const TREND_HOURS: usize = 24;
/// Where the count of one of them stops.
const TREND_LIMIT: i64 = 1000;

/// What dead jobs have in common: the kind of their newest failure, and its message without numbers, names and addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct CauseStats {
    /// Its fingerprint, for [`Filter::cause`](crate::admin::Filter::cause).
    pub cause: i64,
    /// The message without its changing parts, at most 300 characters.
    pub pattern: String,
    /// The kind of failure: `error`, `panic`, `timeout`, `payload`, `lost` …
    pub failure: String,
    /// Dead jobs.
    pub jobs: Count,
    /// Those that died within the last hour.
    pub last_hour: Count,
    /// Those that died within the last day.
    pub last_day: Count,
    /// Those that died in each of the last 24 hours, oldest first; 1,000 stands for more.
    pub trend: Vec<i64>,
    /// When the first of them died.
    pub first_seen: DateTime<Utc>,
    /// When the last of them died.
    pub last_seen: DateTime<Utc>,
    /// Kinds of the newest 200.
    pub kinds: Vec<String>,
    /// Queues of the newest 200.
    pub queues: Vec<String>,
    /// The newest job.
    pub sample: i64,
    /// Its message, at most 2,000 characters.
    pub message: String,
}

/// Tells of what dead jobs died, the cause seen last first, on a sync connection. Of more causes than `limit` (at most 500)
/// it tells of any.
///
/// Reads the index `pgqueue_jobs_cause` and, for its message, one job of each cause; counts stop at 10,000.
///
/// # Errors
/// Errors of the database.
pub fn causes<C: LoadConnection<Backend = Pg>>(
    conn: &mut C,
    limit: i64,
) -> Result<Vec<CauseStats>, Error> {
    let rows: Vec<CauseRow> = RunQueryDsl::load(statement(limit, None), conn).map_err(explain)?;
    Ok(rows.into_iter().map(CauseStats::from).collect())
}

/// Tells of what dead jobs died, on an async connection. Answer and errors are those of [`causes`].
///
/// # Errors
/// As [`causes`].
pub async fn causes_async<C: AsyncConnectionCore<Backend = Pg>>(
    conn: &mut C,
    limit: i64,
) -> Result<Vec<CauseStats>, Error> {
    let rows = diesel_async::RunQueryDsl::load::<CauseRow>(statement(limit, None), conn).await;
    Ok(rows
        .map_err(explain)?
        .into_iter()
        .map(CauseStats::from)
        .collect())
}

/// Tells of one cause of death, on a sync connection; nothing when no dead job has it.
///
/// # Errors
/// Errors of the database.
pub fn cause<C: LoadConnection<Backend = Pg>>(
    conn: &mut C,
    cause: i64,
) -> Result<Option<CauseStats>, Error> {
    let rows = RunQueryDsl::load(statement(1, Some(cause)), conn).map_err(explain)?;
    Ok(only(cause, rows))
}

/// Tells of one cause of death, on an async connection; nothing when no dead job has it.
///
/// # Errors
/// Errors of the database.
pub async fn cause_async<C: AsyncConnectionCore<Backend = Pg>>(
    conn: &mut C,
    cause: i64,
) -> Result<Option<CauseStats>, Error> {
    let rows = diesel_async::RunQueryDsl::load(statement(1, Some(cause)), conn).await;
    Ok(only(cause, rows.map_err(explain)?))
}

fn statement(limit: i64, first: Option<i64>) -> Causes {
    Causes {
        limit: limit.clamp(0, CAUSES_LIMIT),
        count_limit: COUNT_LIMIT,
        first,
    }
}

/// The statement begins at the cause asked for, or behind it when that has no dead job.
fn only(cause: i64, rows: Vec<CauseRow>) -> Option<CauseStats> {
    let found = rows.into_iter().map(CauseStats::from).next();
    found.filter(|found| found.cause == cause)
}

type CauseRow = (
    i64,
    String,
    String,
    (i64, i64, i64),
    (Option<Vec<i32>>, Option<Vec<i64>>),
    (DateTime<Utc>, DateTime<Utc>),
    (Vec<String>, Vec<String>),
    i64,
    String,
);

impl From<CauseRow> for CauseStats {
    fn from((cause, pattern, failure, counts, hours, seen, of, sample, message): CauseRow) -> Self {
        let count = |counted| Count::stopped_at(COUNT_LIMIT, counted);
        Self {
            cause,
            pattern,
            failure,
            jobs: count(counts.0),
            last_hour: count(counts.1),
            last_day: count(counts.2),
            trend: trend(hours),
            first_seen: seen.0,
            last_seen: seen.1,
            kinds: of.0,
            queues: of.1,
            sample,
            message,
        }
    }
}

/// Lays out the hours in which any died; of those that the statement leaves out, none did.
fn trend((hours, jobs): (Option<Vec<i32>>, Option<Vec<i64>>)) -> Vec<i64> {
    let mut trend = vec![0; TREND_HOURS];
    for (hour, jobs) in hours.iter().flatten().zip(jobs.iter().flatten()) {
        let place = usize::try_from(hour - 1).ok();
        if let Some(place) = place.and_then(|place| trend.get_mut(place)) {
            *place = (*jobs).min(TREND_LIMIT);
        }
    }
    trend
}
