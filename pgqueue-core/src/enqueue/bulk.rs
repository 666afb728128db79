//! Many jobs in few statements, with the same answers as one by one.
//!
//! The invariant: keyed jobs are inserted in the order of (queue, key) over the whole call. Sorting only within a chunk
//! let two calls take each other's keys in opposite order, which is a deadlock.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use diesel::connection::LoadConnection;
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::sql_types::{
    Array, BigInt, Bool, Integer, Interval, Jsonb, Nullable, SmallInt, Text, Timestamptz,
};
use diesel_async::AsyncConnectionCore;
use serde_json::Value;

use super::{Enqueued, NewJob, validate};
use crate::error::{Error, explain};
use crate::model::Span;

/// Rows a statement: fastest in a comparison of 1 to 10,000, and its memory stays small.
const CHUNK: usize = 1000;

/// Enqueues many jobs on a sync connection, in statements of 1,000.
///
/// Answers in the order given. A job whose unique key is taken, by a job in the table or by an earlier one of this call,
/// is answered with that job and `inserted: false`. Everything is validated before anything is sent. Outside a
/// transaction each statement commits on its own: wrap the call in one to have all or nothing.
///
/// # Errors
/// As [`NewJob::enqueue`]; a validation error names the index in the call, from 0 on.
pub fn enqueue_all<C, I>(conn: &mut C, jobs: I) -> QueryResult<Vec<Enqueued>>
where
    C: LoadConnection<Backend = Pg>,
    I: IntoIterator<Item = NewJob>,
{
    let mut plan = Plan::of(jobs)?;
    for chunk in std::mem::take(&mut plan.chunks) {
        plan.answer(RunQueryDsl::load(chunk, conn).map_err(explain)?);
    }
    Ok(plan.finish())
}

/// Enqueues many jobs on an async connection. Effect and errors are those of [`enqueue_all`].
///
/// # Errors
/// As [`enqueue_all`].
///
/// # Cancellation safety
/// Dropped before it resolves, any part of the jobs may have been inserted, unless a transaction around it rolls back.
pub async fn enqueue_all_async<C, I>(conn: &mut C, jobs: I) -> QueryResult<Vec<Enqueued>>
where
    C: AsyncConnectionCore<Backend = Pg>,
    I: IntoIterator<Item = NewJob>,
{
    let mut plan = Plan::of(jobs)?;
    for chunk in std::mem::take(&mut plan.chunks) {
        plan.answer(
            diesel_async::RunQueryDsl::load(chunk, conn)
                .await
                .map_err(explain)?,
        );
    }
    Ok(plan.finish())
}

/// What is sent, and how its answers find their way back to the caller's order.
struct Plan {
    chunks: Vec<Chunk>,
    /// For each sent row, the position in the caller's order.
    sent: Vec<usize>,
    /// For each repeat within the call, its position and that of the job it repeats.
    repeats: Vec<(usize, usize)>,
    answers: Vec<Option<Enqueued>>,
    answered_chunks: usize,
}

impl Plan {
    fn of(jobs: impl IntoIterator<Item = NewJob>) -> QueryResult<Self> {
        let jobs: Vec<NewJob> = jobs.into_iter().collect();
        for (position, job) in jobs.iter().enumerate() {
            validate::check(job).map_err(|error| at_position(position, error))?;
        }
        let (order, repeats) = order(&jobs);
        let answers = vec![None; jobs.len()];
        let mut jobs: Vec<Option<NewJob>> = jobs.into_iter().map(Some).collect();
        let chunks = order
            .chunks(CHUNK)
            .map(|positions| {
                positions
                    .iter()
                    .filter_map(|&position| jobs[position].take())
                    .collect()
            })
            .collect();
        Ok(Self {
            chunks,
            sent: order,
            repeats,
            answers,
            answered_chunks: 0,
        })
    }

    fn answer(&mut self, rows: Vec<(i64, i64, bool)>) {
        let base = self.answered_chunks * CHUNK;
        self.answered_chunks += 1;
        for (ordinal, id, inserted) in rows {
            let row = base
                + usize::try_from(ordinal - 1).expect("invariant: WITH ORDINALITY counts from 1");
            self.answers[self.sent[row]] = Some(Enqueued { id, inserted });
        }
    }

    fn finish(mut self) -> Vec<Enqueued> {
        for &(position, first) in &self.repeats {
            self.answers[position] = self.answers[first].map(|answer| Enqueued {
                inserted: false,
                ..answer
            });
        }
        self.answers
            .into_iter()
            .map(|answer| answer.expect("invariant: the statement answers every row"))
            .collect()
    }
}

/// Gives the positions to send, sorted by (queue, key) with keyless ones first and in order, and the repeats.
fn order(jobs: &[NewJob]) -> (Vec<usize>, Vec<(usize, usize)>) {
    let mut firsts: HashMap<(&str, &str), usize> = HashMap::new();
    let mut send = Vec::with_capacity(jobs.len());
    let mut repeats = Vec::new();
    for (position, job) in jobs.iter().enumerate() {
        match &job.unique_key {
            None => send.push(position),
            Some(key) => match firsts.get(&(job.queue.as_str(), key.as_str())) {
                Some(&first) => repeats.push((position, first)),
                None => {
                    firsts.insert((&job.queue, key), position);
                    send.push(position);
                }
            },
        }
    }
    send.sort_by_key(|&position| {
        jobs[position]
            .unique_key
            .as_deref()
            .map(|key| (jobs[position].queue.as_str(), key))
    });
    (send, repeats)
}

fn at_position(position: usize, error: Error) -> diesel::result::Error {
    match error.invalid() {
        Some(invalid) => Error::out_of_bounds(
            invalid.clone(),
            format!("jobs[{position}] of the call: {error}"),
        )
        .into(),
        None => error.into(),
    }
}

/// One statement's rows, column by column.
#[derive(Debug, Default)]
struct Chunk {
    queues: Vec<String>,
    kinds: Vec<String>,
    payloads: Vec<Value>,
    priorities: Vec<i16>,
    run_at: Vec<Option<DateTime<Utc>>>,
    delays: Vec<Option<Span>>,
    max_retries: Vec<i32>,
    unique_keys: Vec<Option<String>>,
    timeouts: Vec<Option<Span>>,
    metadata: Vec<Option<Value>>,
}

impl FromIterator<NewJob> for Chunk {
    fn from_iter<I: IntoIterator<Item = NewJob>>(jobs: I) -> Self {
        let mut chunk = Self::default();
        for job in jobs {
            chunk.queues.push(job.queue);
            chunk.kinds.push(job.kind);
            chunk.payloads.push(job.payload.unwrap_or(Value::Null)); // validated before: never an error here
            chunk.priorities.push(job.priority);
            chunk.run_at.push(job.run_at);
            chunk.delays.push(job.delay);
            chunk.max_retries.push(job.max_retries);
            chunk.unique_keys.push(job.unique_key);
            chunk.timeouts.push(job.timeout);
            chunk.metadata.push(job.metadata);
        }
        chunk
    }
}

impl QueryId for Chunk {
    type QueryId = Self;
    const HAS_STATIC_QUERY_ID: bool = true;
}

impl Query for Chunk {
    type SqlType = (BigInt, BigInt, Bool);
}

impl<C> RunQueryDsl<C> for Chunk {}

impl QueryFragment<Pg> for Chunk {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_sql(include_str!("../sql/enqueue_all.sql"));
        out.push_bind_param_value_only::<Array<Text>, _>(&self.queues)?;
        out.push_bind_param_value_only::<Array<Text>, _>(&self.kinds)?;
        out.push_bind_param_value_only::<Array<Jsonb>, _>(&self.payloads)?;
        out.push_bind_param_value_only::<Array<SmallInt>, _>(&self.priorities)?;
        out.push_bind_param_value_only::<Array<Nullable<Timestamptz>>, _>(&self.run_at)?;
        out.push_bind_param_value_only::<Array<Nullable<Interval>>, _>(&self.delays)?;
        out.push_bind_param_value_only::<Array<Integer>, _>(&self.max_retries)?;
        out.push_bind_param_value_only::<Array<Nullable<Text>>, _>(&self.unique_keys)?;
        out.push_bind_param_value_only::<Array<Nullable<Interval>>, _>(&self.timeouts)?;
        out.push_bind_param_value_only::<Array<Nullable<Jsonb>>, _>(&self.metadata)
    }
}
