//! Actions on many jobs as durable operations: stored with what they are for, done in small steps by whoever finds them
//! open, so that they survive the process that started them; and undone, as long as the trash has the jobs as they were.
//!
//! Each step is one transaction: it moves up to 500 jobs, the place of the walk and the counts together. A crash between
//! two steps loses nothing and does nothing twice.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use diesel::dsl::sql;
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::sql_types::{Bool, Nullable, Timestamptz};
use diesel_async::{AsyncConnectionCore, RunQueryDsl};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::step::{BATCH, Stride};
use super::verb::Verb;
use super::walk::Place;
use super::{Action, Filter, Who};
use crate::error::{Error, ErrorKind, explain};
use crate::schema::pgqueue_bulk_operations::{self as operations, dsl};
use crate::sql::operators::{UndoPurge, UndoRequeue};

/// Most skipped jobs that an operation names.
const SKIPS_LIMIT: usize = 1000;
/// How long an operation can be undone: so long the trash is kept.
pub const UNDO_LIMIT: Duration = Duration::from_secs(24 * 60 * 60);

/// One operation as it stands.
#[derive(Debug, Clone, PartialEq, Queryable, Selectable, Serialize)]
#[diesel(table_name = operations)]
#[diesel(check_for_backend(Pg))]
#[non_exhaustive]
#[expect(missing_docs, reason = "the columns are documented in the schema")]
pub struct Operation {
    pub id: i64,
    pub created_at: DateTime<Utc>,
    pub finished_at: Option<DateTime<Utc>>,
    pub cutoff: DateTime<Utc>,
    pub expected: i64,
    pub expected_exactly: bool,
    pub done: i64,
    pub requested: i64,
    pub skipped: i64,
    pub undone: i64,
    pub rate: Option<i32>,
    pub canary: Option<i32>,
    pub state: String,
    pub verb: String,
    pub actor: String,
    pub reason: Option<String>,
    pub error: Option<String>,
    pub filter: Value,
    #[serde(skip)]
    place: Value,
    pub skips: Value,
}

impl Operation {
    /// Tells whether steps are still to be done.
    #[must_use]
    pub fn is_open(&self) -> bool {
        matches!(self.state.as_str(), "running" | "undoing")
    }

    /// Tells whether it may be undone at this time: it purged or requeued, within a day, and rests.
    #[must_use]
    pub fn can_be_undone(&self, at: DateTime<Utc>) -> bool {
        let age = (at - self.created_at).to_std().unwrap_or_default();
        matches!(self.verb.as_str(), "purge" | "requeue")
            && matches!(self.state.as_str(), "finished" | "cancelled" | "paused")
            && self.done > 0
            && age < UNDO_LIMIT
    }

    /// Gives the jobs that were left as they are, the first 1,000, each with why.
    #[must_use]
    pub fn skipped_jobs(&self) -> Vec<(i64, String)> {
        serde_json::from_value(self.skips.clone()).unwrap_or_default()
    }
}

/// Where an operation has come to.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Progress {
    /// How many courses of the walk are behind it.
    course: usize,
    after: Option<Place>,
}

/// Finds an operation that has a step to be done by now.
///
/// # Errors
/// Errors of the database.
pub async fn due_async<C>(conn: &mut C) -> Result<Option<i64>, Error>
where
    C: AsyncConnectionCore<Backend = Pg>,
{
    let due = operations::table
        .filter(
            sql::<Bool>("state IN ('running', 'undoing')")
                .and(dsl::next_at.le(sql::<Timestamptz>("now()"))),
        )
        .order((dsl::next_at, dsl::id))
        .select(dsl::id)
        .first(conn);
    Ok(due.await.optional().map_err(explain)?)
}

/// Does one step of an operation: at most 500 jobs. Call it inside a transaction, which is the step; true: more is to come.
///
/// Several processes may call it at once: who finds the operation locked leaves it to the other.
///
/// # Errors
/// Errors of the database: roll back, and call [`fail_async`] unless it is worth trying again.
pub async fn advance_async<C>(conn: &mut C, id: i64) -> Result<bool, Error>
where
    C: AsyncConnectionCore<Backend = Pg>,
{
    let found = operations::table
        .find(id)
        .filter(
            sql::<Bool>("state IN ('running', 'undoing')")
                .and(dsl::next_at.le(sql::<Timestamptz>("now()"))),
        )
        .select((Operation::as_select(), sql::<Timestamptz>("now()")))
        .for_update()
        .skip_locked()
        .first::<(Operation, DateTime<Utc>)>(conn);
    let Some((operation, at)) = found.await.optional().map_err(explain)? else {
        return Ok(false);
    };
    if operation.state == "undoing" {
        undo_step(conn, &operation, at).await
    } else {
        step(conn, &operation, at).await
    }
}

async fn step<C>(conn: &mut C, operation: &Operation, at: DateTime<Utc>) -> Result<bool, Error>
where
    C: AsyncConnectionCore<Backend = Pg>,
{
    let action = action_of(operation)?;
    let progress: Progress = serde_json::from_value(operation.place.clone()).unwrap_or_default();
    let courses = action.verb.courses(&action.filter);
    let Some(course) = courses.get(progress.course).copied() else {
        return close(conn, operation.id, "finished").await;
    };
    let before = operation.done + operation.requested;
    let left = operation.canary.map(|jobs| i64::from(jobs) - before);
    let batch = [
        Some(BATCH),
        operation.rate.map(i64::from),
        left.filter(|left| *left > 0),
    ];
    let batch = batch.into_iter().flatten().min().unwrap_or(BATCH);
    let mut step = action.step(course, progress.after, Some(operation.cutoff));
    step.batch = batch;
    step.operation = Some(operation.id);
    step.details = json!({"operation": operation.id, "filter": operation.filter});
    let stride: Stride = step.get_result(conn).await.map_err(explain)?;

    let mut counts = (0_i64, 0_i64, 0_i64);
    let mut skips = operation.skipped_jobs();
    for (job, answer) in stride.ids.iter().zip(&stride.answers) {
        match answer.as_deref() {
            Some("requested") => counts.1 += 1,
            Some(reason @ ("conflict" | "busy" | "missing" | "state")) => {
                counts.2 += 1;
                skips.push((*job, reason.to_owned()));
            }
            None => {
                counts.2 += 1;
                skips.push((*job, "state".to_owned()));
            }
            Some(_) => counts.0 += 1,
        }
    }
    skips.truncate(SKIPS_LIMIT);
    let after = stride.next(batch);
    let next = Progress {
        course: progress.course + usize::from(after.is_none()),
        after,
    };
    let finished = next.course >= courses.len();
    let canary_is_over = left.is_some_and(|left| left > 0 && counts.0 + counts.1 >= left);
    let state = match (finished, canary_is_over) {
        (true, _) => "finished",
        (false, true) => "paused",
        (false, false) => "running",
    };
    let pause = TimeDelta::seconds(i64::from(operation.rate.is_some()));
    let changes = (
        dsl::place.eq(json!(next)),
        dsl::done.eq(operation.done + counts.0),
        dsl::requested.eq(operation.requested + counts.1),
        dsl::skipped.eq(operation.skipped + counts.2),
        dsl::skips.eq(json!(skips)),
        dsl::state.eq(state),
        dsl::next_at.eq(at + pause),
        dsl::finished_at.eq(finished.then_some(at)),
        // Once the first jobs were let through, it goes to its end when it is resumed.
        dsl::canary.eq(operation.canary.filter(|_| !canary_is_over)),
    );
    let update = diesel::update(operations::table.find(operation.id)).set(changes);
    update.execute(conn).await.map_err(explain)?;
    Ok(state == "running")
}

async fn undo_step<C>(conn: &mut C, operation: &Operation, at: DateTime<Utc>) -> Result<bool, Error>
where
    C: AsyncConnectionCore<Backend = Pg>,
{
    let (id, limit) = (operation.id, BATCH);
    let (taken, undone): (i64, i64) = if operation.verb == "purge" {
        UndoPurge {
            operation: id,
            limit,
        }
        .get_result(conn)
        .await
    } else {
        UndoRequeue {
            operation: id,
            limit,
        }
        .get_result(conn)
        .await
    }
    .map_err(explain)?;
    let more = taken >= limit;
    let changes = (
        dsl::undone.eq(operation.undone + undone),
        dsl::state.eq(if more { "undoing" } else { "undone" }),
        dsl::finished_at.eq((!more).then_some(at)),
    );
    let update = diesel::update(operations::table.find(id)).set(changes);
    update.execute(conn).await.map_err(explain)?;
    Ok(more)
}

fn action_of(operation: &Operation) -> Result<Action, Error> {
    let filter: Result<Filter, _> = serde_json::from_value(operation.filter.clone());
    let verb = Verb::named(&operation.verb);
    let (Ok(filter), Some(verb)) = (filter, verb) else {
        let id = operation.id;
        let message = format!("operation {id} was stored by a newer version: let that one do it");
        return Err(Error::new(ErrorKind::Invalid, message));
    };
    Ok(Action {
        verb,
        filter,
        who: Who {
            actor: Some(operation.actor.clone()),
            reason: operation.reason.clone(),
        },
    })
}

async fn close<C>(conn: &mut C, id: i64, state: &str) -> Result<bool, Error>
where
    C: AsyncConnectionCore<Backend = Pg>,
{
    let changes = (
        dsl::state.eq(state),
        dsl::finished_at.eq(sql::<Nullable<Timestamptz>>("now()")),
    );
    let update = diesel::update(operations::table.find(id)).set(changes);
    update.execute(conn).await.map_err(explain)?;
    Ok(false)
}

/// Ends an operation whose step the database refuses, with the reason.
///
/// # Errors
/// Errors of the database.
pub async fn fail_async<C>(conn: &mut C, id: i64, error: &str) -> Result<(), Error>
where
    C: AsyncConnectionCore<Backend = Pg>,
{
    let error: String = error.chars().take(2000).collect();
    diesel::update(operations::table.find(id))
        .set((
            dsl::state.eq("failed"),
            dsl::error.eq(error),
            dsl::finished_at.eq(sql::<Nullable<Timestamptz>>("now()")),
        ))
        .execute(conn)
        .await
        .map_err(explain)?;
    Ok(())
}

/// Reads one operation.
///
/// # Errors
/// Errors of the database.
pub async fn operation_async<C>(conn: &mut C, id: i64) -> Result<Option<Operation>, Error>
where
    C: AsyncConnectionCore<Backend = Pg>,
{
    let read = operations::table
        .find(id)
        .select(Operation::as_select())
        .first(conn);
    Ok(read.await.optional().map_err(explain)?)
}

/// Reads the newest operations before `before`, the newest first.
///
/// # Errors
/// Errors of the database.
pub async fn operations_async<C>(
    conn: &mut C,
    before: Option<i64>,
    limit: i64,
) -> Result<Vec<Operation>, Error>
where
    C: AsyncConnectionCore<Backend = Pg>,
{
    let read = operations::table
        .filter(dsl::id.lt(before.unwrap_or(i64::MAX)))
        .order(dsl::id.desc())
        .limit(limit.clamp(1, 1000))
        .select(Operation::as_select())
        .load(conn);
    Ok(read.await.map_err(explain)?)
}

/// Reads the operations that need somebody's eye, the newest first: those at work, those that wait to be resumed, and those
/// that failed within a day.
///
/// # Errors
/// Errors of the database.
pub async fn operations_at_work_async<C>(conn: &mut C, limit: i64) -> Result<Vec<Operation>, Error>
where
    C: AsyncConnectionCore<Backend = Pg>,
{
    let matters = "(state IN ('running', 'undoing', 'paused') \
        OR state = 'failed' AND finished_at > now() - interval '1 day')";
    let read = operations::table
        .filter(sql::<Bool>(matters))
        .order(dsl::id.desc())
        .limit(limit.clamp(1, 1000))
        .select(Operation::as_select())
        .load(conn);
    Ok(read.await.map_err(explain)?)
}
