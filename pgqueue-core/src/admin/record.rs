//! Everything of one job, for somebody who wants to know what happened to it.

use std::time::Duration;

use chrono::{DateTime, Utc};
use diesel::connection::LoadConnection;
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel_async::AsyncConnectionCore;
use serde_json::Value;

use crate::error::{Error, explain};
use crate::model::Span;
use crate::sql::operators::{ReadAudit, ReadDocuments, ReadJob};
use crate::state::JobState;

/// One job, all that is known of it. JSON is the text that PostgreSQL keeps: a number has all its digits.
#[derive(Debug, Clone, Queryable)]
#[non_exhaustive]
#[expect(missing_docs, reason = "the columns are documented in the schema")]
pub struct Record {
    pub id: i64,
    pub state: JobState,
    pub queue: String,
    pub kind: String,
    pub priority: i16,
    pub run_at: DateTime<Utc>,
    pub created_at: DateTime<Utc>,
    pub started_at: Option<DateTime<Utc>>,
    pub finished_at: Option<DateTime<Utc>>,
    pub deadline_at: Option<DateTime<Utc>>,
    pub cancel_requested_at: Option<DateTime<Utc>>,
    pub attempt: i32,
    pub max_retries: i32,
    pub lost: i32,
    pub claimed_by: Option<i64>,
    /// Name, host and process of the worker that runs it, while that is registered.
    pub worker: Option<String>,
    pub unique_key: Option<String>,
    timeout: Option<Span>,
    pub payload: String,
    pub metadata: Option<String>,
    pub progress: Option<String>,
    pub output: Option<String>,
    pub errors: String,
    /// Changes with each change of the row: [`edit`](super::edit) takes it.
    pub version: String,
}

/// The JSON of one job, as the text that PostgreSQL keeps.
#[derive(Debug, Clone, PartialEq, Eq, Queryable)]
#[non_exhaustive]
pub struct Documents {
    /// The job.
    pub id: i64,
    /// What its handler is given.
    pub payload: String,
    /// What was enqueued beside it: tags, and whatever else.
    pub metadata: Option<String>,
    /// What its handler gave back.
    pub output: Option<String>,
}

/// One failure that a job keeps.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Failure {
    /// When.
    pub at: Option<DateTime<Utc>>,
    /// In which run.
    pub attempt: Option<i64>,
    /// Of which sort: `error`, `panic`, `timeout`, `lost` and so on.
    pub kind: Option<String>,
    /// What the handler said.
    pub message: String,
}

/// What was done to a job.
#[derive(Debug, Clone, PartialEq, Eq, Queryable)]
#[non_exhaustive]
pub struct Deed {
    /// When.
    pub at: DateTime<Utc>,
    /// Who.
    pub actor: String,
    /// What: `requeue`, `edit` and so on.
    pub action: String,
    /// Why.
    pub reason: Option<String>,
    /// More, as JSON.
    pub details: String,
}

impl Record {
    /// Gives the longest run, if the job says it.
    #[must_use]
    pub fn timeout(&self) -> Option<Duration> {
        self.timeout.map(|span| span.0)
    }

    /// Gives the failures it keeps, the oldest first. What somebody else wrote there is given as a message.
    #[must_use]
    pub fn failures(&self) -> Vec<Failure> {
        match serde_json::from_str::<Vec<Value>>(&self.errors) {
            Ok(errors) => errors.iter().map(failure).collect(),
            Err(_) => vec![Failure {
                message: self.errors.clone(),
                ..Failure::default()
            }],
        }
    }

    /// Gives its tags.
    #[must_use]
    pub fn tags(&self) -> Vec<String> {
        let metadata = self.metadata.as_deref().unwrap_or("null");
        let metadata: Value = serde_json::from_str(metadata).unwrap_or_default();
        let tags = metadata["tags"].as_array().into_iter().flatten();
        tags.filter_map(|tag| tag.as_str().map(str::to_owned))
            .collect()
    }

    /// Gives the job that it is a clone of.
    #[must_use]
    pub fn cloned_from(&self) -> Option<i64> {
        let metadata: Value = serde_json::from_str(self.metadata.as_deref()?).ok()?;
        metadata["cloned_from"].as_i64()
    }
}

fn failure(error: &Value) -> Failure {
    let text = |name: &str| error[name].as_str().map(str::to_owned);
    Failure {
        at: text("at").and_then(|at| at.parse().ok()),
        attempt: error["attempt"].as_i64(),
        kind: text("kind"),
        message: text("message").unwrap_or_else(|| error.to_string()),
    }
}

/// Reads a job, on a sync connection.
///
/// # Errors
/// Errors of the database.
pub fn job<C: LoadConnection<Backend = Pg>>(
    conn: &mut C,
    id: i64,
) -> Result<Option<Record>, Error> {
    let found = RunQueryDsl::get_result(ReadJob { id }, conn).optional();
    Ok(found.map_err(explain)?)
}

/// Reads a job, on an async connection.
///
/// # Errors
/// Errors of the database.
///
/// # Cancellation safety
/// It only reads.
pub async fn job_async<C: AsyncConnectionCore<Backend = Pg>>(
    conn: &mut C,
    id: i64,
) -> Result<Option<Record>, Error> {
    let found = diesel_async::RunQueryDsl::get_result(ReadJob { id }, conn).await;
    Ok(found.optional().map_err(explain)?)
}

/// Reads the documents of these jobs by their ids, on a sync connection; of those that are not there, nothing.
///
/// # Errors
/// Errors of the database.
pub fn documents<C: LoadConnection<Backend = Pg>>(
    conn: &mut C,
    ids: &[i64],
) -> Result<Vec<Documents>, Error> {
    Ok(RunQueryDsl::load(ReadDocuments { ids }, conn).map_err(explain)?)
}

/// Reads the documents of these jobs by their ids, on an async connection, as [`documents`] does.
///
/// # Errors
/// Errors of the database.
///
/// # Cancellation safety
/// It only reads.
pub async fn documents_async<C: AsyncConnectionCore<Backend = Pg>>(
    conn: &mut C,
    ids: &[i64],
) -> Result<Vec<Documents>, Error> {
    let read = diesel_async::RunQueryDsl::load(ReadDocuments { ids }, conn).await;
    Ok(read.map_err(explain)?)
}

/// Reads what was done to a job, the last first and at most 50, on a sync connection. What was done to many at once is
/// not among it.
///
/// # Errors
/// Errors of the database.
pub fn deeds<C: LoadConnection<Backend = Pg>>(conn: &mut C, id: i64) -> Result<Vec<Deed>, Error> {
    Ok(RunQueryDsl::load(ReadAudit { id }, conn).map_err(explain)?)
}

/// Reads what was done to a job, on an async connection, as [`deeds`] does.
///
/// # Errors
/// Errors of the database.
///
/// # Cancellation safety
/// It only reads.
pub async fn deeds_async<C: AsyncConnectionCore<Backend = Pg>>(
    conn: &mut C,
    id: i64,
) -> Result<Vec<Deed>, Error> {
    let read = diesel_async::RunQueryDsl::load(ReadAudit { id }, conn).await;
    Ok(read.map_err(explain)?)
}
