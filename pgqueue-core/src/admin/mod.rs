//! What operators and scripts do to jobs and queues: requeue, cancel, purge, run now, pause and resume.
//!
//! Every action is a guarded statement: it changes only rows that are in the state it is meant for, counts what it
//! changed, says what it skipped and why, and writes its row into `pgqueue_audit` in the same transaction. Actions on
//! many jobs go in statements of 500, each a transaction of its own unless you are in one, and cover what matched when
//! they began: jobs that die meanwhile, or are enqueued, are not swept in. No statement looks at more than 5,000 jobs, so
//! none is slow, however many there are and however few match; nor does it stop at a job that another transaction holds.
//!
//! [`find`] lists jobs by page; [`job`] tells all of one, [`why`] it stands as it does, [`deeds`] what was done to it;
//! [`edit`] changes and [`clone()`] copies it. An action on very many jobs can be previewed and become a durable
//! [`Operation`] ([`Action::preview_async`], [`Action::start_async`]), which survives its process and can be undone.
//!
//! ```no_run
//! use pgqueue_core::admin::{self, Filter};
//! # fn example(conn: &mut impl diesel::connection::LoadConnection<Backend = diesel::pg::Pg>) -> Result<(), pgqueue_core::Error> {
//! let done = admin::requeue(Filter::new().kind("notify_warehouse").error_contains("503"))
//!     .by("alice")
//!     .because("the warehouse is back")
//!     .run(conn)?; // or run_async(conn).await?
//! println!("{} jobs run again, {} skipped", done.changed, done.skipped.len());
//!
//! admin::pause("mail").by("alice").run(conn)?;
//! # Ok(()) }
//! ```

/// The methods of every action that fill its [`Who`].
macro_rules! says_who {
    () => {
        /// Says who acts, for the audit; the database session's user by default.
        pub fn by(mut self, actor: impl Into<String>) -> Self {
            self.who.actor = Some(actor.into());
            self
        }

        /// Says why, for the audit.
        pub fn because(mut self, reason: impl Into<String>) -> Self {
            self.who.reason = Some(reason.into());
            self
        }
    };
}

mod audit;
mod became;
mod bulk;
mod control;
mod cursor;
mod edit;
mod filter;
mod find;
mod operation;
mod plan;
mod queue;
mod record;
mod search;
mod step;
mod verb;
mod walk;
mod why;

pub use audit::{AuditEntry, AuditFilter, AuditPage, audit, audit_async};
pub use became::{Became, became_async};
pub use bulk::{Action, cancel, purge, requeue, run_now};
pub use control::{Control, control_async};
pub use cursor::Cursor;
pub use edit::{Edit, Edited, JobAction, SECRET_WORDS, clone, edit, reveal};
pub use filter::Filter;
pub use find::{Find, Page, Stopped, Summary, find};
pub use operation::{
    Operation, UNDO_LIMIT, advance_async, due_async, fail_async, operation_async, operations_async,
    operations_at_work_async,
};
pub use plan::{Plan, Preview};
pub use queue::{QueueAction, pause, resume};
pub use record::{
    Deed, Documents, Failure, Record, deeds, deeds_async, documents, documents_async, job,
    job_async,
};
pub use why::{Reason, why, why_async};

/// What an action did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Done {
    /// Jobs that changed.
    pub changed: u64,
    /// Running jobs that were asked to stop; each is cancelled when its handler has stopped.
    pub requested: u64,
    /// Jobs that were left as they are, at most 1,000 of them.
    pub skipped: Vec<Skipped>,
}

/// A job that an action left as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Skipped {
    /// The job.
    pub id: i64,
    /// Why.
    pub reason: SkipReason,
}

/// Why an action left a job as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SkipReason {
    /// No job has this id.
    Missing,
    /// Its state is not one that the action is for.
    State,
    /// Another transaction holds it locked: try again.
    Busy,
    /// A pending or running job has its unique key.
    Conflict,
}

/// Who acts, and why, for the audit.
#[derive(Debug, Clone, Default)]
struct Who {
    actor: Option<String>,
    reason: Option<String>,
}
