//! x
#![allow(missing_docs, dead_code)]
mod backoff;
mod context;
mod enqueue;
mod error;
mod job;
mod maintenance;
mod migrate;
mod model;
mod outcome;
pub mod schema;
mod source;
mod sql;
mod state;
pub mod stats;
mod worker;
pub use context::{Context, RawJob};
pub use enqueue::{EnqueueFuture, Enqueued, NewJob, enqueue_all, enqueue_all_async};
pub use error::{BoxError, Error, ErrorKind, Invalid};
pub use job::{Job, new};
pub use migrate::{MIGRATIONS, migrate, migrate_async};
pub use model::{JobRow, Span};
pub use outcome::{HandlerResult, Outcome};
pub use source::{PooledConnection, Source};
pub use state::{JobState, UnknownState};
pub use worker::{Worker, WorkerBuilder, WorkerHandle};
#[doc(hidden)]
pub mod __private {
    pub use crate::enqueue::insert::{Due, Payload, Row};
    pub use diesel::query_source::TableNotEqual;
}
