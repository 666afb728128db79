//! What an operator asks of a durable operation that was started: to rest, go on, end, or be undone.

use chrono::{DateTime, Utc};
use diesel::dsl::sql;
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::sql_types::Timestamptz;
use diesel_async::{AsyncConnectionCore, RunQueryDsl};
use serde_json::json;

use super::Operation;
use crate::error::{Error, explain};
use crate::schema::pgqueue_audit::dsl as audit;
use crate::schema::pgqueue_bulk_operations::{self as operations, dsl};

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
