//! A job to be enqueued: a builder that is itself a Diesel query.
//!
//! The invariant: whatever leaves this module for the database has been validated, or is guarded by a named `CHECK`.
//! A unique conflict never aborts the caller's transaction. The repeat that a racing conflict needs happens inside the
//! statement (`pgqueue_enqueue_again`), so that the async form stays one plain query and can be pipelined by `try_join!`.

mod bulk;
mod columns;
pub(crate) mod insert;
mod validate;

use std::time::Duration;

use chrono::{DateTime, Utc};
use diesel::connection::LoadConnection;
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::sql_types::{
    BigInt, Bool, Integer, Interval, Jsonb, Nullable, SmallInt, Text, Timestamptz,
};
use diesel_async::AsyncConnectionCore;
use diesel_async::return_futures::LoadFuture;
use futures_util::FutureExt;
use futures_util::future::Map as MapOutput;
use serde_json::{Map, Value};

pub use bulk::{enqueue_all, enqueue_all_async};
pub(crate) use validate::{check_name, check_queue_name, check_range};

use crate::answer;
use crate::error::{Error, explain};
use crate::job::Job;
use crate::model::Span;

/// The future of an enqueue: `impl Future<Output = QueryResult<Enqueued>> + Send`.
///
/// It has a name so that two enqueues on one `&AsyncPgConnection` can be joined.
pub type EnqueueFuture<'c, C> = MapOutput<
    LoadFuture<'c, 'static, NewJob, C, Enqueued>,
    fn(QueryResult<Vec<Enqueued>>) -> QueryResult<Enqueued>,
>;

/// What an enqueue did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Queryable)]
pub struct Enqueued {
    /// The job: the new one, or the pending or running one that has the unique key.
    pub id: i64,
    /// Is false when a job with the same unique key was there already.
    pub inserted: bool,
}

/// A job to be enqueued, with all its settings.
///
/// It is a Diesel query that answers [`Enqueued`], and also [`Insertable`] into `pgqueue_jobs`. An insert does without the
/// checks of [`validate`](Self::validate): what is out of bounds meets the table's named `CHECK`s, a unique key that is
/// taken is a unique violation, either fails the transaction, and a payload nested too deeply is found by the worker.
///
/// | setting | default |
/// |---|---|
/// | queue | `default` |
/// | priority | 5 (0 runs first, 9 last) |
/// | `run_at` | the start of the transaction |
/// | `max_retries` | 3 |
/// | `unique_key` | none |
/// | timeout | none (the worker's) |
/// | metadata | none |
///
/// # Example
/// ```
/// use pgqueue_core::NewJob;
/// use serde_json::json;
/// use std::time::Duration;
///
/// let job = NewJob::new("email", json!({"to": "user@example.com"}))
///     .queue("mail")
///     .priority(2)
///     .delay(Duration::from_secs(60))
///     .unique_key("user:123");
/// assert!(job.validate().is_ok());
/// assert!(job.priority(10).validate().is_err());
/// ```
#[must_use = "a job exists only after `enqueue`, `enqueue_async` or an insert"]
#[derive(Debug, Clone)]
pub struct NewJob {
    kind: String,
    queue: String,
    payload: Result<Value, String>,
    payload_limit: usize,
    priority: i16,
    run_at: Option<DateTime<Utc>>,
    delay: Option<Span>,
    max_retries: i32,
    unique_key: Option<String>,
    timeout: Option<Span>,
    metadata: Option<Value>,
}

impl NewJob {
    /// Makes a job of a kind by its name, for handlers added with [`handle_kind`](crate::WorkerBuilder::handle_kind).
    pub fn new(kind: impl Into<String>, payload: Value) -> Self {
        Self {
            kind: kind.into(),
            queue: "default".to_owned(),
            payload: Ok(payload),
            payload_limit: validate::PAYLOAD_LIMIT,
            priority: 5,
            run_at: None,
            delay: None,
            max_retries: 3,
            unique_key: None,
            timeout: None,
            metadata: None,
        }
    }

    /// Makes a job of a typed one, with the settings of its type.
    ///
    /// A value that serde cannot turn into JSON is reported by [`validate`](Self::validate) and by the enqueue.
    pub fn of<J: Job>(job: &J) -> Self {
        let mut new = Self::new(J::KIND, Value::Null);
        new.payload = serde_json::to_value(job).map_err(|error| error.to_string());
        J::QUEUE.clone_into(&mut new.queue);
        new.priority = J::PRIORITY;
        new.max_retries = J::MAX_RETRIES;
        new.timeout = J::TIMEOUT.map(Span);
        new
    }

    /// Sets the queue, 1..128 bytes.
    pub fn queue(mut self, queue: impl Into<String>) -> Self {
        self.queue = queue.into();
        self
    }

    /// Sets the priority: 0 runs first, 9 last.
    pub fn priority(mut self, priority: i16) -> Self {
        self.priority = priority;
        self
    }

    /// Sets the earliest time of the first run, from 1970 to the year 9999. A time in the past is now.
    pub fn run_at(mut self, run_at: DateTime<Utc>) -> Self {
        self.run_at = Some(run_at);
        self.delay = None;
        self
    }

    /// Sets the earliest time of the first run, counted by the database's clock from the moment of the enqueue.
    pub fn delay(mut self, delay: Duration) -> Self {
        self.delay = Some(Span(delay));
        self.run_at = None;
        self
    }

    /// Sets how often a failed run is repeated, 0..1000.
    pub fn max_retries(mut self, max_retries: i32) -> Self {
        self.max_retries = max_retries;
        self
    }

    /// Sets a key, 1..512 bytes, that at most one pending or running job of the queue has.
    pub fn unique_key(mut self, key: impl Into<String>) -> Self {
        self.unique_key = Some(key.into());
        self
    }

    /// Sets the longest run, over zero. It outranks the worker's.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(Span(timeout));
        self
    }

    /// Adds a tag, kept in `metadata.tags`.
    pub fn tag(mut self, tag: impl Into<String>) -> Self {
        let tags = self
            .metadata_object()
            .entry("tags")
            .or_insert_with(|| Value::Array(Vec::new()));
        match tags {
            Value::Array(tags) => tags.push(Value::String(tag.into())),
            other => *other = Value::Array(vec![Value::String(tag.into())]),
        }
        self
    }

    /// Sets one entry of the metadata, which travels with the job: a trace id, a tenant. `tags` is where [`tag`](Self::tag) writes.
    pub fn metadata(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.metadata_object().insert(name.into(), value.into());
        self
    }

    /// Sets the largest payload and the largest metadata, each in bytes of its JSON as PostgreSQL prints it; 1 MiB by default.
    ///
    /// The table has the same default: to store more, also `ALTER DATABASE … SET pgqueue.payload_limit = '4194304'`; 64 MiB is the
    /// most that it takes. A payload within the one limit and over the other is
    /// [`ErrorKind::Invalid`](crate::ErrorKind::Invalid), too, but has failed the transaction.
    pub fn payload_limit(mut self, bytes: usize) -> Self {
        self.payload_limit = bytes;
        self
    }

    /// Gives the kind.
    #[must_use]
    pub fn kind_name(&self) -> &str {
        &self.kind
    }

    /// Gives the queue.
    #[must_use]
    pub fn queue_name(&self) -> &str {
        &self.queue
    }

    /// Checks every field against its bounds, without a database.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`](crate::ErrorKind::Invalid), naming the field, its size and the bound.
    pub fn validate(&self) -> Result<(), Error> {
        validate::check(self).map(|_| ())
    }

    /// Enqueues it on a sync connection: `PgConnection`, an r2d2 one, `AsyncConnectionWrapper`, alone or in a transaction.
    ///
    /// Inserts one row in the caller's transaction; the job exists if and only if that commits. If a pending or running
    /// job of the queue has the unique key, nothing is inserted and that job is named; the transaction goes on. If a
    /// transaction that has not ended holds the key, the call waits for it.
    ///
    /// # Errors
    /// An invalid field ([`Error::of`] gives the typed error back; nothing was sent, the transaction is usable).
    /// `SerializationFailure` where the transaction is `REPEATABLE READ` or `SERIALIZABLE` and a job with the same key
    /// was committed since it began: run the transaction again. Missing tables, naming the migration to run.
    pub fn enqueue<C: LoadConnection<Backend = Pg>>(self, conn: &mut C) -> QueryResult<Enqueued> {
        RunQueryDsl::get_result(self, conn).map_err(explain)
    }

    /// Enqueues it on an async connection: `AsyncPgConnection`, a deadpool or bb8 one, alone or in a transaction; and on
    /// `&AsyncPgConnection`, where several enqueues joined by `try_join!` share one round trip.
    ///
    /// Effect and errors are those of [`enqueue`](Self::enqueue).
    ///
    /// # Cancellation safety
    /// Dropped before it resolves, the job may or may not have been inserted; give it a unique key to repeat it safely.
    pub fn enqueue_async<'c, C: AsyncConnectionCore<Backend = Pg>>(
        self,
        conn: &'c mut C,
    ) -> EnqueueFuture<'c, C> {
        let only: fn(QueryResult<Vec<Enqueued>>) -> QueryResult<Enqueued> =
            |rows| rows.and_then(answer::only).map_err(explain);
        diesel_async::RunQueryDsl::load(self, conn).map(only)
    }

    fn metadata_object(&mut self) -> &mut Map<String, Value> {
        let metadata = self
            .metadata
            .get_or_insert_with(|| Value::Object(Map::new()));
        metadata
            .as_object_mut()
            .expect("invariant: metadata is made as an object and never replaced")
    }
}

impl QueryId for NewJob {
    type QueryId = Self;
    const HAS_STATIC_QUERY_ID: bool = true;
}

impl Query for NewJob {
    type SqlType = (BigInt, Bool);
}

impl<C> RunQueryDsl<C> for NewJob {}

impl QueryFragment<Pg> for NewJob {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        let payload = validate::check(self)?;
        out.push_sql(include_str!("../sql/enqueue.sql"));
        out.push_bind_param_value_only::<Text, _>(&self.queue)?;
        out.push_bind_param_value_only::<Text, _>(&self.kind)?;
        out.push_bind_param_value_only::<Jsonb, _>(payload)?;
        out.push_bind_param_value_only::<SmallInt, _>(&self.priority)?;
        out.push_bind_param_value_only::<Nullable<Timestamptz>, _>(&self.run_at)?;
        out.push_bind_param_value_only::<Nullable<Interval>, _>(&self.delay)?;
        out.push_bind_param_value_only::<Integer, _>(&self.max_retries)?;
        out.push_bind_param_value_only::<Nullable<Text>, _>(&self.unique_key)?;
        out.push_bind_param_value_only::<Nullable<Interval>, _>(&self.timeout)?;
        out.push_bind_param_value_only::<Nullable<Jsonb>, _>(&self.metadata)
    }
}
