//! Pausing and resuming a queue.

use diesel::connection::LoadConnection;
use diesel::pg::Pg;
use diesel_async::AsyncConnectionCore;

use super::Who;
use crate::enqueue::check_queue_name;
use crate::error::Error;
use crate::sql::{Pause, Resume};

/// Pauses a queue: workers claim nothing of it until it is resumed; jobs that run go on, and enqueues go in.
pub fn pause(queue: impl Into<String>) -> QueueAction {
    QueueAction {
        queue: queue.into(),
        pauses: true,
        who: Who::default(),
    }
}

/// Resumes a paused queue and wakes a worker.
pub fn resume(queue: impl Into<String>) -> QueueAction {
    QueueAction {
        queue: queue.into(),
        pauses: false,
        who: Who::default(),
    }
}

/// An action on a queue; nothing happens until [`run`](Self::run) or [`run_async`](Self::run_async).
#[derive(Debug, Clone)]
#[must_use = "nothing happens until it runs"]
pub struct QueueAction {
    queue: String,
    pauses: bool,
    who: Who,
}

impl QueueAction {
    says_who!();

    /// Acts, on a sync connection; false: the queue was so already.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`](crate::ErrorKind::Invalid) for a name that no queue can have; errors of the database.
    pub fn run<C: LoadConnection<Backend = Pg>>(self, conn: &mut C) -> Result<bool, Error> {
        check_queue_name(&self.queue)?;
        let changed: Vec<String> = if self.pauses {
            diesel::RunQueryDsl::load(self.pause(), conn)?
        } else {
            diesel::RunQueryDsl::load(self.resume(), conn)?
        };
        Ok(!changed.is_empty())
    }

    /// Acts, on an async connection. Effect and errors are those of [`run`](Self::run).
    ///
    /// # Errors
    /// As [`run`](Self::run).
    ///
    /// # Cancellation safety
    /// Dropped before it resolves, it has happened or not.
    pub async fn run_async<C: AsyncConnectionCore<Backend = Pg>>(
        self,
        conn: &mut C,
    ) -> Result<bool, Error> {
        check_queue_name(&self.queue)?;
        let changed: Vec<String> = if self.pauses {
            diesel_async::RunQueryDsl::load(self.pause(), conn).await?
        } else {
            diesel_async::RunQueryDsl::load(self.resume(), conn).await?
        };
        Ok(!changed.is_empty())
    }

    fn pause(&self) -> Pause<'_> {
        let Who { actor, reason } = &self.who;
        Pause {
            queue: &self.queue,
            actor: actor.as_deref(),
            reason: reason.as_deref(),
        }
    }

    fn resume(&self) -> Resume<'_> {
        let Who { actor, reason } = &self.who;
        Resume {
            queue: &self.queue,
            actor: actor.as_deref(),
            reason: reason.as_deref(),
        }
    }
}
