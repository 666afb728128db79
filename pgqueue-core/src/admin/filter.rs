//! Which jobs an action is for.

use chrono::{DateTime, Utc};
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::query_builder::AstPass;
use diesel::sql_types::{Array, BigInt, Integer, Text, Timestamptz};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::walk::Order;
use crate::error::{Error, ErrorKind};
use crate::state::JobState;

/// Longest text of a condition in bytes.
const TEXT_LIMIT: usize = 1024;
/// Deepest place in a payload that a condition may name.
const PATH_LIMIT: usize = 16;
/// Most ids that the audit repeats.
const IDS_AUDITED: usize = 1000;

/// Which jobs: all conditions that are set must hold. Without a state, those that the action is for: dead ones for
/// [`requeue`](super::requeue) and [`purge`](super::purge), pending and running ones for [`cancel`](super::cancel),
/// pending ones for [`run_now`](super::run_now).
///
/// A list of ids or one id is a filter, too: `admin::cancel(42)`.
///
/// It can be stored as JSON. One that was stored by a newer version, with a condition that this one does not know, is
/// refused: to pass the condition over would sweep in jobs that nobody meant.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[must_use]
pub struct Filter {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) ids: Option<Vec<i64>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) state: Option<JobState>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) queue: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    kind: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    unique_key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tag: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    worker: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) cause: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    attempts_at_least: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    created_after: Option<DateTime<Utc>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    created_before: Option<DateTime<Utc>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) finished_after: Option<DateTime<Utc>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) finished_before: Option<DateTime<Utc>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    payload: Vec<PayloadIs>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error_contains: Option<String>,
}

/// A place in the payload has this value, as text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct PayloadIs {
    path: Vec<String>,
    value: String,
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

    /// Only jobs with this unique key.
    pub fn unique_key(mut self, key: impl Into<String>) -> Self {
        self.unique_key = Some(key.into());
        self
    }

    /// Only jobs with this tag.
    pub fn tag(mut self, tag: impl Into<String>) -> Self {
        self.tag = Some(tag.into());
        self
    }

    /// Only jobs that this worker runs.
    pub fn worker(mut self, id: i64) -> Self {
        self.worker = Some(id);
        self
    }

    /// Only jobs that died of this cause, as [`stats::causes`](crate::stats::causes) numbers them.
    pub fn cause(mut self, cause: i64) -> Self {
        self.cause = Some(cause);
        self
    }

    /// Only jobs that were started at least so many times.
    pub fn attempts_at_least(mut self, attempts: i32) -> Self {
        self.attempts_at_least = Some(attempts);
        self
    }

    /// Only jobs whose payload has this value at this place: `.payload(["customer", "id"], "42")`. A number or a truth
    /// value is given as the text of its JSON, a position in a list as a number. May be called more than once.
    pub fn payload<P: Into<String>>(
        mut self,
        path: impl IntoIterator<Item = P>,
        value: impl Into<String>,
    ) -> Self {
        self.payload.push(PayloadIs {
            path: path.into_iter().map(Into::into).collect(),
            value: value.into(),
        });
        self
    }

    /// Only jobs one of whose kept errors contains this text, in any case.
    pub fn error_contains(mut self, text: impl Into<String>) -> Self {
        self.error_contains = Some(text.into());
        self
    }

    /// Only jobs enqueued after this time.
    pub fn created_after(mut self, time: DateTime<Utc>) -> Self {
        self.created_after = Some(time);
        self
    }

    /// Only jobs enqueued before this time.
    pub fn created_before(mut self, time: DateTime<Utc>) -> Self {
        self.created_before = Some(time);
        self
    }

    /// Only jobs that completed, were cancelled or died after this time.
    pub fn finished_after(mut self, time: DateTime<Utc>) -> Self {
        self.finished_after = Some(time);
        self
    }

    /// Only jobs that completed, were cancelled or died before this time.
    pub fn finished_before(mut self, time: DateTime<Utc>) -> Self {
        self.finished_before = Some(time);
        self
    }

    /// Writes the conditions on `j` that no index serves, each with `AND` before it; the dearest last.
    pub(super) fn push_conditions<'b>(&'b self, out: &mut AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        push::<Text, _>(" AND j.queue = ", self.queue.as_ref(), "", out)?;
        push::<Text, _>(" AND j.kind = ", self.kind.as_ref(), "", out)?;
        push::<Text, _>(" AND j.unique_key = ", self.unique_key.as_ref(), "", out)?;
        push::<BigInt, _>(" AND j.claimed_by = ", self.worker.as_ref(), "", out)?;
        push::<BigInt, _>(" AND j.cause = ", self.cause.as_ref(), "", out)?;
        let attempts = self.attempts_at_least.as_ref();
        push::<Integer, _>(" AND j.attempt >= ", attempts, "", out)?;
        self.push_times(out)?;
        let before = " AND jsonb_exists(CASE WHEN jsonb_typeof(j.metadata -> 'tags') = 'array' THEN j.metadata -> 'tags' END, ";
        push::<Text, _>(before, self.tag.as_ref(), ")", out)?;
        for condition in &self.payload {
            push::<Array<Text>, _>(" AND j.payload #>> ", Some(&condition.path), "", out)?;
            push::<Text, _>(" = ", Some(&condition.value), "", out)?;
        }
        let before = " AND strpos(lower(j.errors::text), lower(";
        push::<Text, _>(before, self.error_contains.as_ref(), ")) > 0", out)
    }

    fn push_times<'b>(&'b self, out: &mut AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        let times = [
            (" AND j.created_at > ", &self.created_after),
            (" AND j.created_at < ", &self.created_before),
            (" AND j.finished_at > ", &self.finished_after),
            (" AND j.finished_at < ", &self.finished_before),
        ];
        for (condition, time) in times {
            push::<Timestamptz, _>(condition, time.as_ref(), "", out)?;
        }
        Ok(())
    }

    pub(super) fn names_worker(&self) -> bool {
        self.worker.is_some()
    }

    /// Is true when a walk in this order meets nothing but matches.
    pub(super) fn is_walk_alone(&self, order: Order) -> bool {
        let mut rest = self.clone();
        rest.state = None;
        if order == Order::Ended(JobState::Dead) {
            rest.cause = None;
        }
        match order {
            Order::Ended(_) => (rest.finished_after, rest.finished_before) = (None, None),
            Order::Pending => rest.queue = None,
            Order::Ids | Order::Newest | Order::Running => {}
        }
        rest == Self::new()
    }

    /// Checks what the database would refuse, or take too long over.
    pub(super) fn check(&self) -> Result<(), Error> {
        let paths = self.payload.iter().flat_map(|condition| &condition.path);
        let values = self.payload.iter().map(|condition| &condition.value);
        let named = [
            &self.queue,
            &self.kind,
            &self.unique_key,
            &self.tag,
            &self.error_contains,
        ];
        let mut texts = named.into_iter().flatten().chain(paths).chain(values);
        if let Some(text) = texts.find(|text| text.len() > TEXT_LIMIT || text.contains('\0')) {
            let start: String = text.chars().take(20).collect();
            return Err(Error::new(
                ErrorKind::Invalid,
                format!(
                    "the filter's text {start:?}… is longer than {TEXT_LIMIT} bytes, or has a NUL: shorten it"
                ),
            ));
        }
        let deep = |condition: &PayloadIs| !(1..=PATH_LIMIT).contains(&condition.path.len());
        if self.payload.iter().any(deep) {
            return Err(Error::new(
                ErrorKind::Invalid,
                format!(
                    "the filter names a place in the payload that is empty, or more than {PATH_LIMIT} levels deep: shorten it"
                ),
            ));
        }
        let times = [
            self.created_after,
            self.created_before,
            self.finished_after,
            self.finished_before,
        ];
        match times.iter().flatten().find(|time| !is_storable(time)) {
            Some(time) => Err(unstorable(time)),
            None => Ok(()),
        }
    }

    /// Tells whether any state is left for an action that is for `states`.
    pub(super) fn allows_one_of(&self, states: &[JobState]) -> bool {
        self.state.is_none_or(|state| states.contains(&state))
    }

    /// Gives itself for the audit.
    pub(super) fn described(&self) -> Value {
        let mut named = self.clone();
        if let Some(ids) = &mut named.ids {
            ids.truncate(IDS_AUDITED);
        }
        serde_json::to_value(named).unwrap_or_default()
    }
}

/// The first second that PostgreSQL knows, of the year 4714 BC; its last one is later than the last of `chrono`.
const FIRST_SECOND: i64 = -210_866_803_200;

/// Tells whether PostgreSQL knows a time.
pub(super) fn is_storable(time: &DateTime<Utc>) -> bool {
    time.timestamp() >= FIRST_SECOND
}

pub(super) fn unstorable(time: &DateTime<Utc>) -> Error {
    let message = format!("the time {time} is before the first that PostgreSQL knows, 4714 BC");
    Error::new(ErrorKind::Invalid, message)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stored_filter_is_the_same_and_an_unknown_condition_is_refused() {
        let filter = Filter::new()
            .state(JobState::Dead)
            .tag("import")
            .payload(["order", "id"], "42")
            .finished_after(DateTime::UNIX_EPOCH);

        let stored = serde_json::to_string(&filter).unwrap();

        assert_eq!(serde_json::from_str::<Filter>(&stored).unwrap(), filter);
        assert!(serde_json::from_str::<Filter>(r#"{"moon": "full"}"#).is_err());
        assert!(filter.check().is_ok());
        assert!(Filter::new().kind("a\0b").check().is_err());
        let times = Filter::new().created_after(DateTime::UNIX_EPOCH);
        assert!(
            times
                .clone()
                .created_before(DateTime::<Utc>::MAX_UTC)
                .check()
                .is_ok()
        );
        assert!(
            times
                .created_before(DateTime::<Utc>::MIN_UTC)
                .check()
                .is_err()
        );
        assert!(Filter::new().payload(["a"; 17], "1").check().is_err());
    }
}
