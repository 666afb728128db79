//! For the tests of a host application: see what was enqueued, and claim and end it on the test's own connection, inside
//! `begin_test_transaction` too. Feature `testing`.
//!
//! Handlers do not get that connection: `ctx.connection()` fails there, `ctx.progress()` stores nothing, and `progress_in` and
//! `complete_in` on another connection, which cannot see your open transaction, give `LeaseLost`. To test handlers that use
//! the database, give the test a database of its own, commit, and call [`Worker::run_until_empty`].
//!
//! ```no_run
//! use diesel::prelude::*;
//! use pgqueue_core::{Job, Worker, testing};
//! # #[derive(serde::Serialize, serde::Deserialize)] struct SendReceipt { order_id: i64 }
//! # impl Job for SendReceipt { const KIND: &'static str = "send_receipt"; }
//! # fn place_order(conn: &mut impl diesel::connection::LoadConnection<Backend = diesel::pg::Pg>) -> QueryResult<()> { Ok(()) }
//! # fn example(conn: &mut impl diesel::connection::LoadConnection<Backend = diesel::pg::Pg>, worker: &Worker) -> Result<(), pgqueue_core::Error> {
//! conn.begin_test_transaction()?;
//! place_order(conn)?;
//! testing::assert_enqueued(conn, |job: &SendReceipt| job.order_id == 42);
//! let drained = testing::drain(worker, conn)?; // runs the handlers
//! assert_eq!((drained.completed, drained.failed), (1, 0));
//! # Ok(()) }
//! ```

use std::sync::Arc;
use std::time::Duration;

use diesel::connection::LoadConnection;
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::sql_types::Jsonb;
use diesel_async::AsyncConnectionCore;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::context::Run;
use crate::error::{BoxError, Error, explain};
use crate::job::Job;
use crate::outcome::{Ending, Failure};
use crate::schema::pgqueue_jobs;
use crate::sql::drain::{Hasten, PutBack};
use crate::sql::{Claim, ClaimSuspect, Finish, Register, Unregister};
use crate::state::JobState;
use crate::worker::Worker;
use crate::worker::execute::{Claimed, panic_message};
use crate::worker::next_move::Move;

/// What [`drain`] ran.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Drained {
    /// Runs that completed their job.
    pub completed: usize,
    /// Runs that failed; their jobs wait for a retry or are dead.
    pub failed: usize,
    /// Runs that were snoozed or cancelled.
    pub other: usize,
    /// The messages of the failures, in order.
    pub errors: Vec<String>,
}

/// Reads the pending jobs of a type, in the order of their enqueue.
///
/// # Errors
/// Errors of the database, and payloads that are not of the type.
pub fn enqueued<J: Job>(conn: &mut impl LoadConnection<Backend = Pg>) -> Result<Vec<J>, Error> {
    read(RunQueryDsl::load(pending::<J>(), conn).map_err(explain)?)
}

/// Reads the pending jobs of a type on an async connection.
///
/// # Errors
/// As [`enqueued`].
pub async fn enqueued_async<J: Job>(
    conn: &mut impl AsyncConnectionCore<Backend = Pg>,
) -> Result<Vec<J>, Error> {
    let payloads = diesel_async::RunQueryDsl::load(pending::<J>(), conn).await;
    read(payloads.map_err(explain)?)
}

/// Asserts that a pending job of the type fits.
///
/// # Panics
/// When none does, listing the payloads that are there.
#[track_caller]
pub fn assert_enqueued<J: Job>(
    conn: &mut impl LoadConnection<Backend = Pg>,
    fits: impl Fn(&J) -> bool,
) {
    check(enqueued::<J>(conn), fits);
}

/// Asserts that a pending job of the type fits, on an async connection.
///
/// # Panics
/// When none does, listing the payloads that are there.
pub async fn assert_enqueued_async<J: Job>(
    conn: &mut impl AsyncConnectionCore<Backend = Pg>,
    fits: impl Fn(&J) -> bool,
) {
    check(enqueued_async::<J>(conn).await, fits);
}

/// Runs every due job of the worker's kinds and queues on this connection, one after the other, and those that they
/// enqueue, until none is due.
///
/// Each job runs at most once: a retry or a snooze waits for its time as in production, and for the next drain. A job is due
/// by the clock, though `now()` stands still in your transaction: its `run_at` may be moved back to `now()` for that.
///
/// Handlers run on a runtime of their own. A handler has no pool here ([`Context::connection`](crate::Context::connection)
/// fails) and cannot see what your open transaction has not committed, except through what you share with it.
///
/// # Errors
/// Errors of the database. What handlers return is counted, not returned.
pub fn drain<C: LoadConnection<Backend = Pg>>(
    worker: &Worker,
    conn: &mut C,
) -> Result<Drained, Error> {
    let mut drain = Drain::new(worker);
    let registered: Vec<(i64, String, chrono::DateTime<chrono::Utc>)> =
        RunQueryDsl::load(drain.register(), conn).map_err(explain)?;
    drain.id = registered.as_slice().first().map_or(0, |(id, ..)| *id);
    loop {
        RunQueryDsl::execute(drain.hasten(), conn)?;
        let mut claimed: Vec<Claimed> = RunQueryDsl::load(drain.claim(), conn)?;
        if claimed.is_empty() {
            claimed = RunQueryDsl::load(drain.claim_suspect(), conn)?;
        }
        let Some(job) = claimed.pop() else {
            break;
        };
        let (run, ending) = on_own_runtime(drain.run(job))?;
        let row = drain.end(&run, ending);
        let _stored: Vec<(i64, i64, String, chrono::DateTime<chrono::Utc>)> =
            RunQueryDsl::load(row.statement(), conn)?;
    }
    RunQueryDsl::execute(drain.put_back(), conn)?;
    let _removed: Vec<i64> = RunQueryDsl::load(Unregister { worker: drain.id }, conn)?;
    Ok(drain.done)
}

/// Runs every due job on an async connection. Effect and errors are those of [`drain`].
///
/// # Errors
/// As [`drain`].
///
/// # Cancellation safety
/// Dropped before it resolves, a job may stay running: roll the test's transaction back.
pub async fn drain_async<C: AsyncConnectionCore<Backend = Pg>>(
    worker: &Worker,
    conn: &mut C,
) -> Result<Drained, Error> {
    use diesel_async::RunQueryDsl as Async;
    let mut drain = Drain::new(worker);
    let registered: Vec<(i64, String, chrono::DateTime<chrono::Utc>)> =
        Async::load(drain.register(), conn).await.map_err(explain)?;
    drain.id = registered.as_slice().first().map_or(0, |(id, ..)| *id);
    loop {
        Async::execute(drain.hasten(), conn).await?;
        let mut claimed: Vec<Claimed> = Async::load(drain.claim(), conn).await?;
        if claimed.is_empty() {
            claimed = Async::load(drain.claim_suspect(), conn).await?;
        }
        let Some(job) = claimed.pop() else {
            break;
        };
        let (run, ending) = drain.run(job).await;
        let row = drain.end(&run, ending);
        let _stored: Vec<(i64, i64, String, chrono::DateTime<chrono::Utc>)> =
            Async::load(row.statement(), conn).await?;
    }
    Async::execute(drain.put_back(), conn).await?;
    let _removed: Vec<i64> = Async::load(Unregister { worker: drain.id }, conn).await?;
    Ok(drain.done)
}

/// The payloads of the pending jobs of a type.
fn pending<J: Job>() -> pgqueue_jobs::BoxedQuery<'static, Pg, Jsonb> {
    let is_pending = pgqueue_jobs::state.eq(JobState::Pending);
    pgqueue_jobs::table
        .filter(pgqueue_jobs::kind.eq(J::KIND).and(is_pending))
        .order(pgqueue_jobs::id)
        .select(pgqueue_jobs::payload)
        .into_boxed()
}

fn read<J: Job>(payloads: Vec<Value>) -> Result<Vec<J>, Error> {
    let read = |payload| {
        serde_json::from_value(payload).map_err(|cause| {
            let message = format!(
                "a pending job of kind {:?} is no {}",
                J::KIND,
                std::any::type_name::<J>()
            );
            Error::new(crate::ErrorKind::Invalid, message).caused(cause)
        })
    };
    payloads.into_iter().map(read).collect()
}

#[track_caller]
fn check<J: Job>(jobs: Result<Vec<J>, Error>, fits: impl Fn(&J) -> bool) {
    let jobs = jobs.unwrap_or_else(|error| panic!("cannot read the enqueued jobs: {error}"));
    let payloads: Vec<Value> = jobs
        .iter()
        .filter_map(|job| serde_json::to_value(job).ok())
        .collect();
    assert!(
        jobs.iter().any(fits),
        "no pending job of kind {:?} fits; pending are: {payloads:?}",
        J::KIND
    );
}

/// Handlers may use tokio; the caller may or may not be inside a runtime: a thread with one of its own serves both.
fn on_own_runtime<T: Send>(work: impl Future<Output = T> + Send) -> Result<T, Error> {
    let run = || -> Result<T, BoxError> {
        Ok(tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?
            .block_on(work))
    };
    let ended = std::thread::scope(|scope| scope.spawn(run).join());
    let ended = ended.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    ended.map_err(|cause| {
        Error::configuration("cannot make a runtime for the drained jobs").caused(cause)
    })
}

/// So much later than it should a job is due that ran and is pending again, while the drain lasts.
const ASIDE: Duration = Duration::from_secs(24 * 60 * 60);

struct Drain<'w> {
    worker: &'w Worker,
    id: i64,
    queues: Vec<String>,
    slots: Vec<i32>,
    kinds: Vec<String>,
    after_run_at: Vec<diesel::pg::data_types::PgTimestamp>,
    after_id: Vec<i64>,
    described: Value,
    /// Jobs that ran and are pending again: due later by [`ASIDE`] than they should be, until the drain ends.
    aside: Vec<i64>,
    done: Drained,
}

impl<'w> Drain<'w> {
    fn new(worker: &'w Worker) -> Self {
        let queues = worker.queues();
        let places = queues.len() * 10;
        Self {
            worker,
            id: 0,
            slots: vec![1; queues.len()],
            queues,
            kinds: worker.kinds(),
            after_run_at: vec![diesel::pg::data_types::PgTimestamp(i64::MIN); places],
            after_id: vec![0; places],
            described: Value::Object(serde_json::Map::new()),
            aside: Vec::new(),
            done: Drained::default(),
        }
    }

    /// Makes what is due by the clock due by `now()`, which is the start of the test's transaction.
    fn hasten(&self) -> Hasten<'_> {
        Hasten {
            queues: &self.queues,
            kinds: &self.kinds,
        }
    }

    fn put_back(&self) -> PutBack<'_> {
        PutBack {
            ids: &self.aside,
            aside: crate::Span(ASIDE),
        }
    }

    fn claim_suspect(&self) -> ClaimSuspect<'_> {
        ClaimSuspect {
            queues: &self.queues,
            kinds: &self.kinds,
            worker: self.id,
            batch: 1,
            default_timeout: None,
        }
    }

    fn register(&self) -> Register<'_> {
        Register {
            name: "testing::drain",
            host: "",
            pid: 0,
            version: env!("CARGO_PKG_VERSION"),
            queues: &self.described,
            kinds: &self.kinds,
            lease: crate::Span(Duration::from_secs(60)),
        }
    }

    fn claim(&self) -> Claim<'_> {
        Claim {
            queues: &self.queues,
            most: &self.slots,
            after_run_at: &self.after_run_at,
            after_id: &self.after_id,
            kinds: &self.kinds,
            total: 1,
            worker: self.id,
            batch: 1,
            default_timeout: None,
            free: &self.slots,
            bytes: i64::MAX,
        }
    }

    async fn run(&self, claimed: Claimed) -> (Arc<Run>, Ending) {
        let (run, payload) = claimed.into_run(CancellationToken::new(), true);
        let run = Arc::new(run);
        let payload = match payload {
            Ok(payload) => payload,
            Err(dead) => return (run, dead),
        };
        let ending = match self.worker.handler(&run.kind) {
            Some(handler) => handler
                .start(payload, Arc::clone(&run))
                .task
                .await
                .unwrap_or_else(|error| {
                    Ending::Failed(Failure::new("panic", &panic_message(error)))
                }),
            None => Ending::Released,
        };
        (run, ending)
    }

    /// Counts how a run ended, and decides what becomes of its row.
    fn end(&mut self, run: &Run, ending: Ending) -> End {
        match &ending {
            Ending::Completed(_) => self.done.completed += 1,
            Ending::Failed(failure) | Ending::Dead(failure) => self.fail(&failure.message),
            Ending::RetryAfter(_, cause) => self.fail(cause),
            Ending::Snoozed(_) | Ending::Cancelled(_) | Ending::Released => self.done.other += 1,
        }
        let own_backoff = self
            .worker
            .handler(&run.kind)
            .and_then(|handler| handler.backoff(run.attempt));
        let mut next = ending.into_move(run, self.worker.retry_base_wait(), own_backoff);
        if next.state == JobState::Pending {
            next.delay = Some(next.delay.unwrap_or_default() + ASIDE);
            self.aside.push(run.id);
        }
        End::new(run, next)
    }

    fn fail(&mut self, message: &str) {
        self.done.failed += 1;
        self.done.errors.push(message.to_owned());
    }
}

/// One row of the finish statement.
struct End {
    ids: [i64; 1],
    tokens: [i64; 1],
    states: [&'static str; 1],
    delays: [Option<crate::Span>; 1],
    refunds: [i32; 1],
    errors: [Option<Value>; 1],
    outputs: [Option<Value>; 1],
}

impl End {
    fn new(run: &Run, next: Move) -> Self {
        Self {
            ids: [run.id],
            tokens: [run.fencing_token],
            states: [next.state.name()],
            delays: [next.delay.map(crate::Span)],
            refunds: [next.refund],
            errors: [next.error],
            outputs: [next.output],
        }
    }

    fn statement(&self) -> Finish<'_> {
        Finish {
            ids: &self.ids,
            tokens: &self.tokens,
            states: &self.states,
            delays: &self.delays,
            refunds: &self.refunds,
            errors: &self.errors,
            outputs: &self.outputs,
        }
    }
}
