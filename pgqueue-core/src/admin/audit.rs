//! Reading the audit: who did what to which jobs, and why.

use chrono::{DateTime, Utc};
use diesel::connection::LoadConnection;
use diesel::pg::Pg;
use diesel_async::AsyncConnectionCore;
use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorKind, explain};
use crate::sql::operators::Audit as Statement;

/// Most entries that one page looks at: entries have no index by actor or action.
const LOOK: i64 = 10_000;
/// Most entries of a page.
const PAGE: i64 = 200;

/// Which entries of the audit: all conditions that are set must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[must_use]
pub struct AuditFilter {
    actor: Option<String>,
    action: Option<String>,
    job: Option<i64>,
    before: Option<i64>,
}

impl AuditFilter {
    /// Starts with all entries.
    pub fn new() -> Self {
        Self::default()
    }

    /// Only what this actor did.
    pub fn actor(mut self, actor: impl Into<String>) -> Self {
        self.actor = Some(actor.into());
        self
    }

    /// Only this action, such as `requeue`.
    pub fn action(mut self, action: impl Into<String>) -> Self {
        self.action = Some(action.into());
        self
    }

    /// Only what was done to this job by itself. Actions on many jobs at once are kept as one entry without a job.
    pub fn job(mut self, job: i64) -> Self {
        self.job = Some(job);
        self
    }

    /// Only entries older than this one: [`AuditPage::next`] of the page before.
    pub fn before(mut self, id: i64) -> Self {
        self.before = Some(id);
        self
    }

    fn statement(&self, limit: i64) -> Statement<'_> {
        Statement {
            before: self.before,
            actor: self.actor.as_deref(),
            action: self.action.as_deref(),
            job: self.job,
            look: LOOK,
            limit: limit.clamp(1, PAGE),
        }
    }
}

/// An entry of the audit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct AuditEntry {
    /// Its number; newer entries have higher ones.
    pub id: i64,
    /// When it was done.
    pub at: DateTime<Utc>,
    /// The job, if it was done to one.
    pub job_id: Option<i64>,
    /// To how many jobs it was done.
    pub jobs: i64,
    /// Who did it.
    pub actor: String,
    /// What was done.
    pub action: String,
    /// The queue, if it was done to one.
    pub queue: Option<String>,
    /// Why.
    pub reason: Option<String>,
    /// What else is known: the filter of an action on many jobs, or what was changed.
    pub details: serde_json::Value,
}

/// A page of the audit.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct AuditPage {
    /// The entries, newest first.
    pub entries: Vec<AuditEntry>,
    /// Entries that were looked at for them.
    pub looked_at: i64,
    /// Where the next page begins, if there may be older entries.
    pub next: Option<i64>,
}

/// Reads a page of the audit, newest first, at most `limit` entries and never more than 200, on a sync connection. It looks
/// at no more than 10,000 entries; if too few of them match, the page is short and says where to go on.
///
/// # Errors
/// Errors of the database.
pub fn audit<C>(conn: &mut C, filter: &AuditFilter, limit: i64) -> Result<AuditPage, Error>
where
    C: LoadConnection<Backend = Pg>,
{
    let row: Row =
        diesel::RunQueryDsl::get_result(filter.statement(limit), conn).map_err(explain)?;
    page(row, limit)
}

/// Reads a page of the audit, on an async connection. Effect and errors are those of [`audit`].
///
/// # Errors
/// As [`audit`].
pub async fn audit_async<C>(
    conn: &mut C,
    filter: &AuditFilter,
    limit: i64,
) -> Result<AuditPage, Error>
where
    C: AsyncConnectionCore<Backend = Pg>,
{
    let load = diesel_async::RunQueryDsl::get_result::<Row>(filter.statement(limit), conn);
    page(load.await.map_err(explain)?, limit)
}

type Row = (i64, Option<i64>, serde_json::Value);

fn page((looked_at, last, entries): Row, limit: i64) -> Result<AuditPage, Error> {
    let entries: Vec<AuditEntry> = serde_json::from_value(entries).map_err(|cause| {
        Error::new(
            ErrorKind::Database,
            "an entry of pgqueue_audit cannot be read",
        )
        .caused(cause)
    })?;
    let full = i64::try_from(entries.len()).is_ok_and(|length| length >= limit.clamp(1, PAGE));
    let next = if full {
        entries.last().map(|entry| entry.id)
    } else {
        last.filter(|_| looked_at >= LOOK)
    };
    Ok(AuditPage {
        entries,
        looked_at,
        next,
    })
}
