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

use super::step::{BATCH, Course, Peek, Place, Seen, Step, Stride};
use super::verb::Verb;
use super::{Action, Filter, Who};
use crate::error::{Error, ErrorKind, explain};
use crate::schema::pgqueue_audit::dsl as audit;
use crate::schema::pgqueue_bulk_operations::{self as operations, dsl};
use crate::sql::{UndoPurge, UndoRequeue};
use crate::stats::Count;

/// Where a preview stops to count.
const COUNT_LIMIT: i64 = 10_000;
/// Windows of 5,000 jobs that a preview looks through.
const WINDOWS: usize = 10;
/// Most skipped jobs that an operation names.
const SKIPS_LIMIT: usize = 1000;
/// How long an operation can be undone: so long the trash is kept.
pub const UNDO_LIMIT: Duration = Duration::from_secs(24 * 60 * 60);

/// What an action would do, had it begun at `cutoff`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Preview {
    /// The database's time: an operation started with it leaves alone what came to match later.
    pub cutoff: DateTime<Utc>,
    /// How many jobs match, as far as was looked.
    pub jobs: Count,
    /// The first five of them.
    pub sample: Vec<i64>,
    /// Jobs, among the first 500 of each 5,000 looked at, whose unique key another job has by now: a requeue skips them.
    pub conflicts: i64,
}

/// How an operation goes about it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Plan {
    /// What the preview said.
    pub preview: Option<Preview>,
    /// Most jobs a second, 1 to 100,000; none: as fast as it goes.
    pub rate: Option<i32>,
    /// Pauses by itself after so many jobs, until it is resumed.
    pub canary: Option<i32>,
}

impl Plan {
    /// Keeps to what a preview showed.
    #[must_use]
    pub fn of(preview: Preview) -> Self {
        Self {
            preview: Some(preview),
            ..Self::default()
        }
    }

    /// Keeps to a preview of which only its time and count are left.
    #[must_use]
    pub fn since(cutoff: DateTime<Utc>, jobs: Count) -> Self {
        Self::of(Preview {
            cutoff,
            jobs,
            sample: Vec::new(),
            conflicts: 0,
        })
    }

    /// Bounds the jobs a second.
    #[must_use]
    pub fn rate(mut self, rate: Option<i32>) -> Self {
        self.rate = rate;
        self
    }

    /// Has it pause after the first jobs.
    #[must_use]
    pub fn canary(mut self, jobs: Option<i32>) -> Self {
        self.canary = jobs;
        self
    }
}

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
struct Progress {
    /// How many courses of the walk are behind it.
    course: usize,
    after: Option<Place>,
}

impl Action {
    fn step(&self, course: Course, after: Option<Place>, cutoff: Option<DateTime<Utc>>) -> Step {
        Step {
            verb: self.verb,
            course,
            filter: self.filter.clone(),
            who: self.who.clone(),
            details: self.filter.described(),
            after,
            cutoff,
            batch: BATCH,
            operation: None,
        }
    }

    /// Tells what the action would do, and changes nothing. It looks at 50,000 jobs at most: beyond, numbers are "at least".
    ///
    /// # Errors
    /// As [`run_async`](Self::run_async).
    pub async fn preview_async<C>(&self, conn: &mut C) -> Result<Preview, Error>
    where
        C: AsyncConnectionCore<Backend = Pg>,
    {
        self.check()?;
        let (mut jobs, mut conflicts, mut sample) = (0, 0, Vec::new());
        let (mut cutoff, mut windows, mut all) = (None, 0, true);
        let mut courses = self.verb.courses(&self.filter);
        courses.dedup();
        if courses.len() > 2 {
            courses.pop(); // the second look at running jobs would count them again
        }
        for course in courses {
            let mut after = None;
            loop {
                if windows == WINDOWS || jobs > COUNT_LIMIT {
                    all = false;
                    break;
                }
                windows += 1;
                let peek = Peek(self.step(course, after.take(), cutoff));
                let seen: Seen = peek.get_result(conn).await.map_err(explain)?;
                cutoff = cutoff.or(Some(seen.now));
                jobs += seen.fits;
                conflicts += seen.conflicts;
                sample.extend(seen.first.iter().copied());
                after = seen.next(course);
                if after.is_none() {
                    break;
                }
            }
        }
        sample.truncate(5);
        let requeues = self.verb == Verb::Requeue;
        Ok(Preview {
            cutoff: cutoff.unwrap_or_else(Utc::now),
            jobs: Count {
                at_least: jobs.min(COUNT_LIMIT),
                exact: all && jobs <= COUNT_LIMIT,
            },
            sample,
            conflicts: if requeues { conflicts } else { 0 },
        })
    }

    /// Stores the action as an operation, to be done step by step by [`advance_async`], and gives its id.
    ///
    /// A dashboard does the steps of every open operation; a script may do so itself. Purged and requeued jobs are kept as
    /// they were for a day ([`UNDO_LIMIT`]).
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] for a filter that the action is not for, and a rate out of its bounds; errors of the database.
    pub async fn start_async<C>(self, conn: &mut C, plan: Plan) -> Result<i64, Error>
    where
        C: AsyncConnectionCore<Backend = Pg>,
    {
        self.check()?;
        if plan.rate.is_some_and(|rate| !(1..=100_000).contains(&rate)) {
            let message =
                "the rate of an operation is out of its bounds: 1 to 100,000 jobs a second";
            return Err(Error::new(ErrorKind::Invalid, message));
        }
        let preview = match plan.preview {
            Some(preview) => preview,
            None => self.preview_async(conn).await?,
        };
        let actor = self.who.actor.clone();
        let values = (
            dsl::cutoff.eq(preview.cutoff),
            dsl::expected.eq(preview.jobs.at_least),
            dsl::expected_exactly.eq(preview.jobs.exact),
            dsl::rate.eq(plan.rate),
            dsl::canary.eq(plan.canary.filter(|jobs| *jobs > 0)),
            dsl::verb.eq(self.verb.name()),
            dsl::actor.eq(actor.unwrap_or_else(|| "unknown".to_owned())),
            dsl::reason.eq(self.who.reason.clone()),
            dsl::filter.eq(json!(self.filter)),
            dsl::place.eq(json!(Progress::default())),
        );
        let insert = diesel::insert_into(operations::table).values(values);
        let id = insert.returning(dsl::id).get_result(conn).await;
        Ok(id.map_err(explain)?)
    }
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
    let after = stride.next(course, batch);
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

/// What is asked of an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Control {
    /// Rest after the step that is being done.
    Pause,
    /// Go on.
    Resume,
    /// End here; what is done stays done.
    Cancel,
    /// Take back what was done, as far as that is possible.
    Undo,
}

impl Control {
    /// The states that it is for, the state that it leads to, and its name in the audit.
    fn turn(self) -> (&'static [&'static str], &'static str, &'static str) {
        match self {
            Self::Pause => (&["running"], "paused", "pause_operation"),
            Self::Resume => (&["paused", "failed"], "running", "resume_operation"),
            Self::Cancel => (
                &["running", "paused", "failed"],
                "cancelled",
                "cancel_operation",
            ),
            Self::Undo => (
                &["finished", "cancelled", "paused"],
                "undoing",
                "undo_operation",
            ),
        }
    }
}

/// Pauses, resumes, cancels or undoes an operation, and writes its audit row; false: it is not in a state for that. Call it
/// inside a transaction.
///
/// # Errors
/// Errors of the database.
pub async fn control_async<C>(
    conn: &mut C,
    id: i64,
    control: Control,
    actor: &str,
) -> Result<bool, Error>
where
    C: AsyncConnectionCore<Backend = Pg>,
{
    let (from, to, name) = control.turn();
    let ends = control == Control::Cancel;
    let found = operations::table
        .find(id)
        .select((Operation::as_select(), sql::<Timestamptz>("now()")))
        .for_update();
    let found = found.first::<(Operation, DateTime<Utc>)>(conn).await;
    let Some((operation, at)) = found.optional().map_err(explain)? else {
        return Ok(false);
    };
    let possible = control != Control::Undo || operation.can_be_undone(at);
    if !possible || !from.contains(&operation.state.as_str()) {
        return Ok(false);
    }
    let changes = (
        dsl::state.eq(to),
        dsl::next_at.eq(at),
        dsl::error.eq(None::<String>),
        dsl::finished_at.eq(ends.then_some(at)),
    );
    let update = diesel::update(operations::table.find(id)).set(changes);
    update.execute(conn).await.map_err(explain)?;
    let row = (
        audit::jobs.eq(0_i64),
        audit::actor.eq(actor),
        audit::action.eq(name),
        audit::details.eq(json!({"operation": id, "verb": operation.verb})),
    );
    let insert = diesel::insert_into(audit::pgqueue_audit).values(row);
    insert.execute(conn).await.map_err(explain)?;
    Ok(true)
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
