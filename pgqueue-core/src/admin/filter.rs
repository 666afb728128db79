//! Which jobs an action is for.

use chrono::{DateTime, Utc};
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::query_builder::AstPass;
use diesel::sql_types::{Text, Timestamptz};
use serde_json::{Map, Value, json};

use crate::state::JobState;

/// Which jobs: all conditions that are set must hold. Without a state, those that the action is for: dead ones for
/// [`requeue`](super::requeue) and [`purge`](super::purge), pending and running ones for [`cancel`](super::cancel),
/// pending ones for [`run_now`](super::run_now).
///
/// A list of ids or one id is a filter, too: `admin::cancel(42)`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[must_use]
pub struct Filter {
    pub(super) ids: Option<Vec<i64>>,
    pub(super) state: Option<JobState>,
    pub(super) queue: Option<String>,
    kind: Option<String>,
    error_contains: Option<String>,
    created_before: Option<DateTime<Utc>>,
    pub(super) finished_before: Option<DateTime<Utc>>,
}

impl From<i64> for Filter {
    fn from(id: i64) -> Self {
        Self::new().ids([id])
    }
}

impl From<Vec<i64>> for Filter {
    fn from(ids: Vec<i64>) -> Self {
        Self::new().ids(ids)
    }
}

impl Filter {
    /// Starts with every job that the action is for.
    pub fn new() -> Self {
        Self::default()
    }

    /// Only these jobs. What is not among them, or not in a state for the action, is reported as skipped.
    pub fn ids(mut self, ids: impl IntoIterator<Item = i64>) -> Self {
        self.ids = Some(ids.into_iter().collect());
        self
    }

    /// Only jobs in this state.
    pub fn state(mut self, state: JobState) -> Self {
        self.state = Some(state);
        self
    }

    /// Only jobs of this queue.
    pub fn queue(mut self, queue: impl Into<String>) -> Self {
        self.queue = Some(queue.into());
        self
    }

    /// Only jobs of this kind.
    pub fn kind(mut self, kind: impl Into<String>) -> Self {
        self.kind = Some(kind.into());
        self
    }

    /// Only jobs one of whose kept errors contains this text, in any case.
    pub fn error_contains(mut self, text: impl Into<String>) -> Self {
        self.error_contains = Some(text.into());
        self
    }

    /// Only jobs enqueued before this time.
    pub fn created_before(mut self, time: DateTime<Utc>) -> Self {
        self.created_before = Some(time);
        self
    }

    /// Only jobs that completed, were cancelled or died before this time.
    pub fn finished_before(mut self, time: DateTime<Utc>) -> Self {
        self.finished_before = Some(time);
        self
    }

    /// Writes the conditions on `j` that no index serves, each with `AND` before it; the dearest last.
    pub(super) fn push_conditions<'b>(&'b self, out: &mut AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        let Self { queue, kind, .. } = self;
        push::<Text, _>(" AND j.queue = ", queue.as_ref(), "", out)?;
        push::<Text, _>(" AND j.kind = ", kind.as_ref(), "", out)?;
        let created = self.created_before.as_ref();
        push::<Timestamptz, _>(" AND j.created_at < ", created, "", out)?;
        let finished = self.finished_before.as_ref();
        push::<Timestamptz, _>(" AND j.finished_at < ", finished, "", out)?;
        let before = " AND strpos(lower(j.errors::text), lower(";
        push::<Text, _>(before, self.error_contains.as_ref(), ")) > 0", out)
    }

    /// Tells whether any state is left for an action that is for `states`.
    pub(super) fn allows_one_of(&self, states: &[JobState]) -> bool {
        self.state.is_none_or(|state| states.contains(&state))
    }

    /// Gives itself for the audit.
    pub(super) fn described(&self) -> Value {
        let entries = [
            (
                "ids",
                self.ids
                    .as_ref()
                    .map(|ids| json!(ids.iter().take(1000).collect::<Vec<_>>())),
            ),
            ("state", self.state.map(|state| json!(state.name()))),
            ("queue", self.queue.as_ref().map(|queue| json!(queue))),
            ("kind", self.kind.as_ref().map(|kind| json!(kind))),
            (
                "error_contains",
                self.error_contains.as_ref().map(|text| json!(text)),
            ),
            (
                "created_before",
                self.created_before.map(|time| json!(time)),
            ),
            (
                "finished_before",
                self.finished_before.map(|time| json!(time)),
            ),
        ];
        let set = entries
            .into_iter()
            .filter_map(|(name, value)| Some((name.to_owned(), value?)));
        Value::Object(set.collect::<Map<_, _>>())
    }
}

/// Writes a condition with its value, if it is set.
pub(super) fn push<'b, T, U>(
    before: &str,
    value: Option<&'b U>,
    after: &str,
    out: &mut AstPass<'_, 'b, Pg>,
) -> QueryResult<()>
where
    Pg: diesel::sql_types::HasSqlType<T>,
    U: diesel::serialize::ToSql<T, Pg>,
{
    if let Some(value) = value {
        out.push_sql(before);
        out.push_bind_param::<T, U>(value)?;
        out.push_sql(after);
    }
    Ok(())
}
