//! Background jobs for applications that use [Diesel](https://diesel.rs) and PostgreSQL: the application's own database
//! is the queue.
//!
//! **Enqueue is a Diesel query.** It runs on a sync or an async connection, alone or in your transaction, so that a job
//! exists if and only if your data commits: [`Job`], [`NewJob`], [`enqueue_all`]. **A [`Worker`] loses nothing:** it runs
//! each job at least once, retries with exponential backoff, and keeps what it gives up as dead.
//!
//! | you want to | see |
//! |---|---|
//! | make the tables at start-up | [`migrate`], [`migrate_async`], [`MIGRATIONS`] |
//! | enqueue | [`Job`], [`new`], [`NewJob`], [`enqueue_all`] |
//! | run jobs | [`Worker`], [`Context`], [`Outcome`] |
//! | have effects happen once | [`Context::complete_in`] |
//! | requeue, cancel, purge, pause | [`admin`] |
//! | know how the queues are doing | [`stats`] |
//! | test your application | `testing` (feature `testing`) |
//! | join jobs with your tables | [`schema`], [`JobRow`], [`allow_pgqueue_jobs_to_appear_in_same_query!`] |
//!
//! # Example
//! ```no_run
//! use diesel_async::{AsyncConnection, AsyncPgConnection};
//! use pgqueue_core::{Context, Job, Worker};
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(Serialize, Deserialize)]
//! struct SendReceipt {
//!     order_id: i64,
//! }
//! impl Job for SendReceipt {
//!     const KIND: &'static str = "send_receipt";
//! }
//!
//! async fn send_receipt(job: SendReceipt, _ctx: Context) -> Result<(), std::io::Error> {
//!     println!("receipt of order {}", job.order_id);
//!     Ok(())
//! }
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let url = "postgres://localhost/shop";
//! let mut conn = AsyncPgConnection::establish(url).await?;
//! pgqueue_core::migrate_async(&mut conn).await?;
//! SendReceipt { order_id: 42 }.enqueue_async(&mut conn).await?;
//! Worker::builder(url).handle(send_receipt).build()?.run_until_signal().await?;
//! # Ok(()) }
//! ```
//!
//! # Features
//! `testing`: assertions and a drain for the tests of a host application.
//!
//! The crate builds without libpq: for sync connections bring `diesel` with its feature `postgres`.

pub mod admin;
mod answer;
mod backoff;
mod causes;
mod context;
mod enqueue;
mod error;
pub mod health;
mod job;
mod maintenance;
mod migrate;
mod model;
mod outcome;
mod pooler;
mod run_error;
pub mod schema;
mod server;
mod source;
mod sql;
mod state;
pub mod stats;
#[cfg(feature = "testing")]
pub mod testing;
mod transaction;
mod worker;
pub mod workers;

pub use context::{Context, RawJob};
pub use enqueue::{EnqueueFuture, Enqueued, NewJob, enqueue_all, enqueue_all_async};
pub use error::{BoxError, Error, ErrorKind, Invalid};
pub use job::{Job, new};
pub use migrate::{MIGRATIONS, migrate, migrate_async};
pub use model::{JobRow, Span};
pub use outcome::{HandlerResult, Outcome};
pub use run_error::RunError;
pub use source::{PooledConnection, Source};
pub use state::{JobState, UnknownState};
pub use worker::{Worker, WorkerBuilder, WorkerHandle};

/// The token that tells a handler to stop: [`Context::cancellation`].
pub use tokio_util::sync::CancellationToken;

/// What the macros of this crate and the associated types of its traits name. Not part of the public API.
#[doc(hidden)]
pub mod __private {
    pub use crate::enqueue::insert::{Due, Payload, Row};
    pub use crate::model::{Document, MaybeDocument};
    pub use crate::run_error::RunErrors;
    pub use diesel::query_source::TableNotEqual;
}
