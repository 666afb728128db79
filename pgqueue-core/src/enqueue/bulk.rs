//! Many jobs in few statements, with the same answers as one by one.
//!
//! The invariant: keyed jobs are inserted in the order of (queue, key) over the whole call. Sorting only within a chunk
//! let two calls take each other's keys in opposite order, which is a deadlock. Jobs without keys go before them, by a
//! statement that has nothing to look up.

use std::collections::HashMap;

use diesel::connection::LoadConnection;
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel_async::AsyncConnectionCore;

use super::columns::{Columns, Keyed, Keyless};
use super::{Enqueued, NewJob, validate};
use crate::error::{Error, ErrorKind, explain};

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
    let jobs = validated(jobs)?;
    let order = Order::of(&jobs);
    let mut answers = Answers::to(&jobs);
    for sent in order.keyless.chunks(CHUNK) {
        let columns = Columns::of(&jobs, sent);
        let ids = RunQueryDsl::load(Keyless(&columns), conn).map_err(explain)?;
        answers.note_keyless(sent, ids)?;
    }
    for sent in order.keyed.chunks(CHUNK) {
        let columns = Columns::of(&jobs, sent);
        let rows = RunQueryDsl::load(Keyed(&columns), conn).map_err(explain)?;
        answers.note_keyed(sent, rows);
    }
    Ok(answers.finish(&order.repeats))
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
    use diesel_async::RunQueryDsl;

    let jobs = validated(jobs)?;
    let order = Order::of(&jobs);
    let mut answers = Answers::to(&jobs);
    for sent in order.keyless.chunks(CHUNK) {
        let columns = Columns::of(&jobs, sent);
        let ids = RunQueryDsl::load(Keyless(&columns), conn).await;
        answers.note_keyless(sent, ids.map_err(explain)?)?;
    }
    for sent in order.keyed.chunks(CHUNK) {
        let columns = Columns::of(&jobs, sent);
        let rows = RunQueryDsl::load(Keyed(&columns), conn).await;
        answers.note_keyed(sent, rows.map_err(explain)?);
    }
    Ok(answers.finish(&order.repeats))
}

fn validated(jobs: impl IntoIterator<Item = NewJob>) -> QueryResult<Vec<NewJob>> {
    let jobs: Vec<NewJob> = jobs.into_iter().collect();
    for (position, job) in jobs.iter().enumerate() {
        validate::check(job).map_err(|error| at_position(position, error))?;
    }
    Ok(jobs)
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

/// What is sent, by position in the caller's order.
#[derive(Debug, Default)]
struct Order {
    /// In the order of the call.
    keyless: Vec<usize>,
    /// Sorted by queue and key, the first of each alone.
    keyed: Vec<usize>,
    /// For each repeat within the call, its position and that of the job it repeats.
    repeats: Vec<(usize, usize)>,
}

impl Order {
    fn of(jobs: &[NewJob]) -> Self {
        let mut order = Self::default();
        let mut firsts: HashMap<(&str, &str), usize> = HashMap::new();
        for (position, job) in jobs.iter().enumerate() {
            match &job.unique_key {
                None => order.keyless.push(position),
                Some(key) => match firsts.get(&(job.queue.as_str(), key.as_str())) {
                    Some(&first) => order.repeats.push((position, first)),
                    None => {
                        firsts.insert((&job.queue, key), position);
                        order.keyed.push(position);
                    }
                },
            }
        }
        let key = |&position: &usize| (&jobs[position].queue, &jobs[position].unique_key);
        order.keyed.sort_by(|one, other| key(one).cmp(&key(other)));
        order
    }
}

/// The answers in the caller's order, as far as they have come.
struct Answers(Vec<Option<Enqueued>>);

impl Answers {
    fn to(jobs: &[NewJob]) -> Self {
        Self(vec![None; jobs.len()])
    }

    /// Notes the ids of a chunk, which come in its order.
    fn note_keyless(&mut self, sent: &[usize], ids: Vec<i64>) -> QueryResult<()> {
        if ids.len() != sent.len() {
            return Err(left_out(sent.len(), ids.len()).into());
        }
        for (&position, id) in sent.iter().zip(ids) {
            self.0[position] = Some(Enqueued { id, inserted: true });
        }
        Ok(())
    }

    fn note_keyed(&mut self, sent: &[usize], rows: Vec<(i64, i64, bool)>) {
        for (ordinal, id, inserted) in rows {
            let row =
                usize::try_from(ordinal - 1).expect("invariant: WITH ORDINALITY counts from 1");
            self.0[sent[row]] = Some(Enqueued { id, inserted });
        }
    }

    fn finish(mut self, repeats: &[(usize, usize)]) -> Vec<Enqueued> {
        for &(position, first) in repeats {
            self.0[position] = self.0[first].map(|answer| Enqueued {
                inserted: false,
                ..answer
            });
        }
        let answers = self.0.into_iter();
        answers
            .map(|answer| answer.expect("invariant: the statements answer every row"))
            .collect()
    }
}

/// Which ids would be whose cannot be told any more.
fn left_out(sent: usize, stored: usize) -> Error {
    let message = format!(
        "pgqueue_jobs stored {stored} of {sent} jobs: a trigger or rule of yours on the table leaves rows out; remove it"
    );
    Error::new(ErrorKind::Database, message)
}
