//! The jobs of one statement of a bulk enqueue, column by column.
//!
//! A column in which all jobs are alike is sent as one value: most calls differ in nothing but the payloads, and each
//! array is a value a row for the client to write and for the server to read.

use chrono::{DateTime, Utc};
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::sql_types::{
    Array, BigInt, Bool, Integer, Interval, Jsonb, Nullable, SmallInt, Text, Timestamptz,
};
use serde_json::Value;

use super::NewJob;
use crate::model::Span;

/// The columns of some jobs.
#[derive(Debug)]
pub(super) struct Columns<'a> {
    queue: Column<'a, String>,
    kind: Column<'a, String>,
    payloads: Vec<&'a Value>,
    priority: Column<'a, i16>,
    run_at: Column<'a, DateTime<Utc>>,
    delay: Column<'a, Span>,
    max_retries: Column<'a, i32>,
    timeout: Column<'a, Span>,
    metadata: Column<'a, Value>,
    unique_keys: Vec<Option<&'a String>>,
}

impl<'a> Columns<'a> {
    /// Gives the columns of the jobs at some positions.
    pub(super) fn of(jobs: &'a [NewJob], positions: &[usize]) -> Self {
        let jobs: Vec<&NewJob> = positions.iter().map(|&position| &jobs[position]).collect();
        let payload = |job: &&'a NewJob| job.payload.as_ref().unwrap_or(&Value::Null); // validated before: never an error here
        Self {
            queue: Column::of(&jobs, |job| Some(&job.queue)),
            kind: Column::of(&jobs, |job| Some(&job.kind)),
            payloads: jobs.iter().map(payload).collect(),
            priority: Column::of(&jobs, |job| Some(&job.priority)),
            run_at: Column::of(&jobs, |job| job.run_at.as_ref()),
            delay: Column::of(&jobs, |job| job.delay.as_ref()),
            max_retries: Column::of(&jobs, |job| Some(&job.max_retries)),
            timeout: Column::of(&jobs, |job| job.timeout.as_ref()),
            metadata: Column::of(&jobs, |job| job.metadata.as_ref()),
            unique_keys: jobs.iter().map(|job| job.unique_key.as_ref()).collect(),
        }
    }

    fn bind<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_bind_param_value_only::<Each<Text>, _>(&self.queue.each)?;
        out.push_bind_param_value_only::<Each<Text>, _>(&self.kind.each)?;
        out.push_bind_param_value_only::<Array<Jsonb>, _>(&self.payloads)?;
        out.push_bind_param_value_only::<Each<SmallInt>, _>(&self.priority.each)?;
        out.push_bind_param_value_only::<Each<Timestamptz>, _>(&self.run_at.each)?;
        out.push_bind_param_value_only::<Each<Interval>, _>(&self.delay.each)?;
        out.push_bind_param_value_only::<Each<Integer>, _>(&self.max_retries.each)?;
        out.push_bind_param_value_only::<Each<Interval>, _>(&self.timeout.each)?;
        out.push_bind_param_value_only::<Each<Jsonb>, _>(&self.metadata.each)?;
        out.push_bind_param_value_only::<Nullable<Text>, _>(&self.queue.all)?;
        out.push_bind_param_value_only::<Nullable<Text>, _>(&self.kind.all)?;
        out.push_bind_param_value_only::<Nullable<SmallInt>, _>(&self.priority.all)?;
        out.push_bind_param_value_only::<Nullable<Timestamptz>, _>(&self.run_at.all)?;
        out.push_bind_param_value_only::<Nullable<Interval>, _>(&self.delay.all)?;
        out.push_bind_param_value_only::<Nullable<Integer>, _>(&self.max_retries.all)?;
        out.push_bind_param_value_only::<Nullable<Interval>, _>(&self.timeout.all)?;
        out.push_bind_param_value_only::<Nullable<Jsonb>, _>(&self.metadata.all)
    }
}

/// A value for each job, or null where all have the same.
type Each<T> = Nullable<Array<Nullable<T>>>;

/// One column: of `each` job, or of `all`.
#[derive(Debug)]
struct Column<'a, T> {
    each: Option<Vec<Option<&'a T>>>,
    all: Option<&'a T>,
}

impl<'a, T: PartialEq> Column<'a, T> {
    fn of(jobs: &[&'a NewJob], get: fn(&'a NewJob) -> Option<&'a T>) -> Self {
        let first = jobs.first().and_then(|job| get(job));
        let alike = jobs.iter().all(|job| get(job) == first);
        Self {
            each: (!alike).then(|| jobs.iter().map(|job| get(job)).collect()),
            all: first.filter(|_| alike),
        }
    }
}

/// Inserts jobs that have no keys.
#[derive(Debug)]
pub(super) struct Keyless<'a>(pub(super) &'a Columns<'a>);

/// Inserts jobs that have keys, or finds those that have them already.
#[derive(Debug)]
pub(super) struct Keyed<'a>(pub(super) &'a Columns<'a>);

impl QueryId for Keyless<'_> {
    type QueryId = Keyless<'static>;
    const HAS_STATIC_QUERY_ID: bool = true;
}

impl QueryId for Keyed<'_> {
    type QueryId = Keyed<'static>;
    const HAS_STATIC_QUERY_ID: bool = true;
}

impl Query for Keyless<'_> {
    type SqlType = BigInt;
}

impl Query for Keyed<'_> {
    type SqlType = (BigInt, BigInt, Bool);
}

impl<C> RunQueryDsl<C> for Keyless<'_> {}

impl<C> RunQueryDsl<C> for Keyed<'_> {}

impl QueryFragment<Pg> for Keyless<'_> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_sql(include_str!("../sql/enqueue_keyless.sql"));
        self.0.bind(out)
    }
}

impl QueryFragment<Pg> for Keyed<'_> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_sql(include_str!("../sql/enqueue_keyed.sql"));
        self.0.bind(out.reborrow())?;
        out.push_bind_param_value_only::<Array<Nullable<Text>>, _>(&self.0.unique_keys)
    }
}
