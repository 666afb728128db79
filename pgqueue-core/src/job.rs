//! The trait that makes a serde type a job.

use std::time::Duration;

use diesel::connection::LoadConnection;
use diesel::pg::Pg;
use diesel_async::AsyncConnectionCore;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::enqueue::{EnqueueFuture, Enqueued, NewJob};

/// A type whose values are jobs: its JSON is the payload, [`KIND`](Self::KIND) names the handler.
///
/// Workers of several versions may run side by side: give fields you add `#[serde(default)]`, and give a payload that
/// old workers cannot read a new `KIND`. A worker leaves kinds it does not know to others.
///
/// # Example
/// ```
/// use pgqueue_core::Job;
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Serialize, Deserialize)]
/// struct SendReceipt {
///     order_id: i64,
/// }
///
/// impl Job for SendReceipt {
///     const KIND: &'static str = "send_receipt";
///     const QUEUE: &'static str = "mail"; // the rest is optional
/// }
///
/// let job = SendReceipt { order_id: 42 }.to_new();
/// assert_eq!((job.kind_name(), job.queue_name()), ("send_receipt", "mail"));
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a pgqueue job",
    label = "add `impl Job for {Self} {{ const KIND: &'static str = \"…\"; }}`",
    note = "the type also needs `#[derive(Serialize, Deserialize)]`"
)]
pub trait Job: Serialize + DeserializeOwned + Send + 'static {
    /// Names the handler, 1..128 bytes. Choose it once: it is stored with every job.
    const KIND: &'static str;
    /// The lane it waits in, 1..128 bytes; `default` by default.
    const QUEUE: &'static str = "default";
    /// 0 (first) to 9 (last); 5 by default.
    const PRIORITY: i16 = 5;
    /// Failed runs are repeated this often before the job is dead, 0..1000; 3 by default.
    const MAX_RETRIES: i32 = 3;
    /// Longest run; `None` (the default) leaves it to the worker's [`timeout`](crate::WorkerBuilder::timeout).
    const TIMEOUT: Option<Duration> = None;

    /// Gives the wait after failed run number `attempt` (1 is the first); `None`, the default, is the worker's
    /// exponential backoff. Up to 10 % jitter is added to either, and 24 h is the most.
    #[must_use]
    fn backoff(attempt: i32) -> Option<Duration> {
        let _: i32 = attempt;
        None
    }

    /// Makes a [`NewJob`] of it, to set more than the type says.
    fn to_new(&self) -> NewJob
    where
        Self: Sized,
    {
        NewJob::of(self)
    }

    /// Enqueues it on a sync connection. See [`NewJob::enqueue`].
    ///
    /// # Errors
    /// As [`NewJob::enqueue`].
    fn enqueue<C: LoadConnection<Backend = Pg>>(
        &self,
        conn: &mut C,
    ) -> diesel::QueryResult<Enqueued>
    where
        Self: Sized,
    {
        self.to_new().enqueue(conn)
    }

    /// Enqueues it on an async connection. See [`NewJob::enqueue_async`].
    fn enqueue_async<'c, C: AsyncConnectionCore<Backend = Pg>>(
        &self,
        conn: &'c mut C,
    ) -> EnqueueFuture<'c, C>
    where
        Self: Sized,
    {
        self.to_new().enqueue_async(conn)
    }
}

/// Makes a [`NewJob`] of a job, to set more than its type says.
///
/// ```
/// # use pgqueue_core::Job;
/// # #[derive(serde::Serialize, serde::Deserialize)] struct SendReceipt { order_id: i64 }
/// # impl Job for SendReceipt { const KIND: &'static str = "send_receipt"; }
/// use std::time::Duration;
///
/// let job = pgqueue_core::new(SendReceipt { order_id: 42 }).delay(Duration::from_secs(60)).unique_key("order:42");
/// assert!(job.validate().is_ok());
/// ```
#[expect(
    clippy::needless_pass_by_value,
    reason = "reads as `new(SendReceipt { … })` at the call"
)]
pub fn new<J: Job>(job: J) -> NewJob {
    NewJob::of(&job)
}
