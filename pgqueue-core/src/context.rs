//! What a handler knows of its run and may do with it. Every write it makes carries the run's fencing token.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use diesel::QueryResult;
use diesel::connection::LoadConnection;
use diesel::pg::Pg;
use diesel_async::AsyncConnectionCore;
use serde::Serialize;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::error::{Error, ErrorKind, explain};
use crate::outcome::without_nul;
use crate::source::{Connections, PooledConnection};
use crate::sql::{CompleteIn, CompleteInDelete, Progress};

/// A handler's view of its run: the job's settings, the shared state, and what it may do.
///
/// Cheap to clone. See [`complete_in`](Self::complete_in) for effects that happen once.
pub struct Context<S = ()> {
    state: Arc<S>,
    run: Arc<Run>,
}

/// One run of one job.
pub(crate) struct Run {
    pub(crate) id: i64,
    pub(crate) fencing_token: i64,
    pub(crate) queue: String,
    pub(crate) kind: String,
    pub(crate) metadata: Option<Value>,
    pub(crate) attempt: i32,
    pub(crate) max_retries: i32,
    pub(crate) created_at: DateTime<Utc>,
    pub(crate) waited: Duration,
    pub(crate) deadline: Option<Instant>,
    pub(crate) started: Instant,
    pub(crate) stop: CancellationToken,
    pub(crate) connections: Option<Connections>,
    pub(crate) keeps_completed: bool,
    pub(crate) complete_in_called: AtomicBool,
}

impl<S> Clone for Context<S> {
    fn clone(&self) -> Self {
        Self {
            state: Arc::clone(&self.state),
            run: Arc::clone(&self.run),
        }
    }
}

impl<S> fmt::Debug for Context<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Run {
            id,
            kind,
            queue,
            attempt,
            ..
        } = &*self.run;
        f.debug_struct("Context")
            .field("id", id)
            .field("kind", kind)
            .field("queue", queue)
            .field("attempt", attempt)
            .finish()
    }
}

impl<S> Context<S> {
    pub(crate) fn new(state: Arc<S>, run: Arc<Run>) -> Self {
        Self { state, run }
    }

    /// Gives the state that the worker was built with.
    #[must_use]
    pub fn state(&self) -> &S {
        &self.state
    }

    /// Gives the job's id, which is the same in every run: an idempotency key for other systems.
    #[must_use]
    pub fn id(&self) -> i64 {
        self.run.id
    }

    /// Gives the number of this run, 1 for the first.
    #[must_use]
    pub fn attempt(&self) -> i32 {
        self.run.attempt
    }

    /// Gives how often a failed run is repeated.
    #[must_use]
    pub fn max_retries(&self) -> i32 {
        self.run.max_retries
    }

    /// Gives the job's kind.
    #[must_use]
    pub fn kind(&self) -> &str {
        &self.run.kind
    }

    /// Gives the job's queue.
    #[must_use]
    pub fn queue(&self) -> &str {
        &self.run.queue
    }

    /// Gives the token of this run: one higher at each claim of the job, never reset.
    #[must_use]
    pub fn fencing_token(&self) -> i64 {
        self.run.fencing_token
    }

    /// Gives the time of the enqueue, by the database's clock.
    #[must_use]
    pub fn enqueued_at(&self) -> DateTime<Utc> {
        self.run.created_at
    }

    /// Gives the job's metadata, with its tags in `tags`.
    #[must_use]
    pub fn metadata(&self) -> Option<&Value> {
        self.run.metadata.as_ref()
    }

    /// Gives the instant at which the run is out of time, if it has a timeout.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.run.deadline
    }

    /// Gives the token that fires when the run should stop: the job was cancelled, its deadline has come, its lease is
    /// lost, or the worker's grace period at shutdown is over. An async handler that goes on is aborted soon after.
    #[must_use]
    pub fn cancellation(&self) -> &CancellationToken {
        &self.run.stop
    }

    /// Is true once the run should stop. Blocking handlers ask it between steps: nothing else can stop them.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.run.stop.is_cancelled()
    }

    /// Takes a connection from the connection pool, waiting for a free one.
    ///
    /// # Errors
    /// [`ErrorKind::Connection`] when none can be made.
    pub async fn connection(&self) -> Result<PooledConnection, Error> {
        match &self.run.connections {
            Some(connections) => connections.pooled().await,
            None => Err(Error::new(
                ErrorKind::Connection,
                "a drained test job has no pool: put what it needs into the worker's state",
            )),
        }
    }

    /// Stores what the run has to report, in the column `progress`, on a connection of the pool. In a drained test, which
    /// has no pool, it is checked and goes nowhere.
    ///
    /// In a transaction of its own that is read committed and may write, whatever the pool's sessions default to.
    ///
    /// # Errors
    /// [`ErrorKind::LeaseLost`] when this is not the current run any more; [`ErrorKind::AlreadyCompleted`] after
    /// `complete_in`, without asking the database: its row may be locked by your own transaction.
    pub async fn progress(&self, progress: impl Serialize) -> Result<(), Error> {
        let progress = self.reportable(progress)?;
        if self.run.connections.is_none() {
            return Ok(()); // a drained test job
        }
        let mut conn = self.connection().await?;
        let statement = self.progress_statement(&progress);
        let mut transaction = conn.build_transaction().read_committed().read_write();
        let stored: QueryResult<Vec<i64>> = transaction
            .run(async |conn| diesel_async::RunQueryDsl::load(statement, conn).await)
            .await;
        self.still_ours(&stored?)
    }

    /// Stores what the run has to report, on a sync connection of yours. For blocking handlers. Its session, or your
    /// transaction, must be one that may write.
    ///
    /// # Errors
    /// As [`progress`](Self::progress).
    pub fn progress_in<C: LoadConnection<Backend = Pg>>(
        &self,
        conn: &mut C,
        progress: impl Serialize,
    ) -> Result<(), Error> {
        let progress = self.reportable(progress)?;
        let statement = self.progress_statement(&progress);
        let changed: Vec<i64> = diesel::RunQueryDsl::load(statement, conn).map_err(Error::from)?;
        self.still_ours(&changed)
    }

    /// Completes the job inside your transaction: your writes and the completion commit together or not at all.
    ///
    /// Locks the job's row until the transaction ends. Call it last, then commit and return `Ok`. If the transaction
    /// rolls back and the handler returns `Ok` all the same, the worker completes the job; if the handler fails after the
    /// commit, the job stays completed and the failure is logged.
    ///
    /// # Errors
    /// [`ErrorKind::LeaseLost`] (by [`Error::of`]) when this is not the current run any more: propagate it with `?`, so
    /// that your transaction rolls back.
    pub fn complete_in<C: LoadConnection<Backend = Pg>>(&self, conn: &mut C) -> QueryResult<()> {
        self.run.complete_in_called.store(true, Ordering::SeqCst);
        let completed: Vec<i64> = if self.run.keeps_completed {
            diesel::RunQueryDsl::load(self.complete_statement(), conn)
        } else {
            diesel::RunQueryDsl::load(self.delete_statement(), conn)
        }
        .map_err(explain)?;
        Ok(self.still_ours(&completed)?)
    }

    /// Completes the job inside your async transaction. Effect and errors are those of [`complete_in`](Self::complete_in).
    ///
    /// # Errors
    /// As [`complete_in`](Self::complete_in).
    ///
    /// # Cancellation safety
    /// Dropped before it resolves, the completion may have happened in your transaction: roll it back.
    pub async fn complete_in_async<C: AsyncConnectionCore<Backend = Pg>>(
        &self,
        conn: &mut C,
    ) -> QueryResult<()> {
        self.run.complete_in_called.store(true, Ordering::SeqCst);
        let completed: Vec<i64> = if self.run.keeps_completed {
            diesel_async::RunQueryDsl::load(self.complete_statement(), conn).await
        } else {
            diesel_async::RunQueryDsl::load(self.delete_statement(), conn).await
        }
        .map_err(explain)?;
        Ok(self.still_ours(&completed)?)
    }

    fn complete_statement(&self) -> CompleteIn<'static> {
        CompleteIn {
            id: self.run.id,
            token: self.run.fencing_token,
            output: None,
        }
    }

    fn delete_statement(&self) -> CompleteInDelete {
        CompleteInDelete {
            id: self.run.id,
            token: self.run.fencing_token,
        }
    }

    fn progress_statement<'a>(&self, progress: &'a Value) -> Progress<'a> {
        Progress {
            id: self.run.id,
            token: self.run.fencing_token,
            progress,
        }
    }

    fn reportable(&self, progress: impl Serialize) -> Result<Value, Error> {
        if self.run.complete_in_called.load(Ordering::SeqCst) {
            let message = format!(
                "job {} was completed by complete_in: report progress before it",
                self.run.id
            );
            return Err(Error::new(ErrorKind::AlreadyCompleted, message));
        }
        let value = serde_json::to_value(progress).map_err(|cause| {
            Error::new(
                ErrorKind::Invalid,
                format!("progress of job {} cannot be written as JSON", self.run.id),
            )
            .caused(cause)
        })?;
        Ok(without_nul(value))
    }

    fn still_ours(&self, changed: &[i64]) -> Result<(), Error> {
        if changed.is_empty() {
            Err(Error::lease_lost(self.run.id))
        } else {
            Ok(())
        }
    }
}

/// A job of a kind that was named by a text: what a [`handle_kind`](crate::WorkerBuilder::handle_kind) handler gets.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct RawJob {
    /// The kind.
    pub kind: String,
    /// The payload, as it was enqueued.
    pub payload: Value,
}
