//! A producer of the soak: it writes down what it intends before it asks the database, and what became of it after.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use diesel::prelude::*;
use diesel::result::Error as DieselError;
use diesel::sql_types::{Array, BigInt};
use diesel_async::{AsyncConnection, AsyncPgConnection};
use fastrand::Rng;
use pgqueue_core::Enqueued;

use super::evidence::{Event, Evidence, Way};
use super::plan::{End, Plan};
use super::{GONE, Producer};

/// How long a producer rests when there are enough jobs, and when the database is away.
const REST: Duration = Duration::from_millis(100);
/// It asks whether there are enough jobs after each such part of enough: the count takes longer than an enqueue.
const PART: i64 = 16;
/// How long it waits for a connection or an answer: the network may have gone silent.
const PATIENCE: Duration = Duration::from_secs(5);
/// Puts the producer's own rows beside its jobs.
const ORDERS: &str = "INSERT INTO orders (intent) SELECT unnest($1::bigint[])";
/// How many jobs wait or run, counted up to the bound.
const BACKLOG: &str = "SELECT count(*) AS number FROM (SELECT FROM pgqueue_jobs WHERE state IN ('pending', 'running') LIMIT $1::bigint) AS open";

#[derive(QueryableByName)]
struct Number {
    #[diesel(sql_type = BigInt)]
    number: i64,
}

/// Enqueues until it is told to end.
pub fn run(told: &Producer, ends: &Arc<AtomicBool>) {
    let evidence = Evidence::open(&told.evidence);
    let mut rng = Rng::with_seed(told.seed);
    let mut first = told.number * 1_000_000;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime is made");
    let mut line = Line { told, conn: None };
    let mut uncounted = 0;
    while !ends.load(Ordering::SeqCst) {
        let plan = Plan::next(&mut rng, told.menu, first);
        let jobs = i64::try_from(plan.jobs.len()).expect("invariant: some jobs");
        (first, uncounted) = (first + jobs, uncounted + jobs);
        evidence.note_and_sync(&Event::Intends {
            jobs: plan
                .jobs
                .iter()
                .map(|wish| (wish.soak.intent, wish.key().map(str::to_owned)))
                .collect(),
            with_order: plan.end != End::Alone,
        });
        let event = line.carry_out(&plan, &runtime);
        if let Some(event) = &event {
            evidence.note_and_sync(event);
        }
        if event.is_none() || uncounted > told.backlog / PART {
            while line.must_rest(&runtime) && !ends.load(Ordering::SeqCst) {
                std::thread::sleep(REST);
            }
            uncounted = 0;
        }
    }
}

/// The connection to the database, made anew after any error.
struct Line<'a> {
    told: &'a Producer,
    conn: Option<Conn>,
}

enum Conn {
    Sync(Box<PgConnection>),
    Async(Box<AsyncPgConnection>),
}

impl Line<'_> {
    /// Does what is planned; answers what became of it, or nothing if that cannot be known.
    fn carry_out(&mut self, plan: &Plan, runtime: &tokio::runtime::Runtime) -> Option<Event> {
        let done = match self.connection(runtime)? {
            Conn::Sync(conn) => carry_out(conn, plan),
            Conn::Async(conn) => {
                let carried_out = carry_out_async(conn, plan);
                patiently(runtime, carried_out)
                    .unwrap_or(Err(DieselError::BrokenTransactionManager))
            }
        };
        match done {
            Ok(enqueued) => {
                let pairs = plan.intents().into_iter().zip(enqueued);
                let jobs = pairs.map(|(intent, job)| (intent, job.id, job.inserted));
                Some(Event::Committed {
                    way: Way {
                        asynchronous: self.told.asynchronous,
                        in_bulk: plan.in_bulk,
                    },
                    jobs: jobs.collect(),
                })
            }
            Err(DieselError::RollbackTransaction) => Some(Event::RolledBack {
                intents: plan.intents(),
            }),
            Err(error) => {
                self.conn = None;
                is_refusal(&error, plan).then(|| Event::Refused {
                    error: error.to_string(),
                })
            }
        }
    }

    /// Is true when there are enough jobs, or the database is away.
    fn must_rest(&mut self, runtime: &tokio::runtime::Runtime) -> bool {
        let most = self.told.backlog;
        let query = || diesel::sql_query(BACKLOG).bind::<BigInt, _>(most);
        let waiting: QueryResult<Number> = match self.connection(runtime) {
            Some(Conn::Sync(conn)) => query().get_result(conn.as_mut()),
            Some(Conn::Async(conn)) => {
                let counted = diesel_async::RunQueryDsl::get_result(query(), conn.as_mut());
                patiently(runtime, counted).unwrap_or(Err(DieselError::NotFound))
            }
            None => Err(DieselError::NotFound),
        };
        if waiting.is_err() {
            self.conn = None;
        }
        waiting.map_or(true, |waiting| waiting.number >= most)
    }

    fn connection(&mut self, runtime: &tokio::runtime::Runtime) -> Option<&mut Conn> {
        if self.conn.is_none() {
            let url = &self.told.url;
            self.conn = if self.told.asynchronous {
                let made = patiently(runtime, AsyncPgConnection::establish(url))?;
                made.ok().map(|conn| Conn::Async(Box::new(conn)))
            } else {
                // libpq has no limit for an answer: a connection that went silent is ended with the fault.
                let url = format!("{url}?connect_timeout=5");
                let made = PgConnection::establish(&url).ok();
                made.map(|conn| Conn::Sync(Box::new(conn)))
            };
        }
        self.conn.as_mut()
    }
}

/// Waits for an answer; nothing if none comes.
fn patiently<T>(runtime: &tokio::runtime::Runtime, answer: impl Future<Output = T>) -> Option<T> {
    // A timer is made within the runtime only.
    runtime.block_on(async { tokio::time::timeout(PATIENCE, answer).await.ok() })
}

/// What only libpq's errors say of it.
const GONE_TO_LIBPQ: [&str; 7] = [
    "connection not open",
    "server closed the connection",
    "could not receive data",
    "could not send data",
    "no connection to the server",
    "lost synchronization",
    "unexpected message",
];

/// Is true when the database, or pgqueue, has refused what was asked for. Else the connection is gone, or a transaction of keys that
/// were enqueued one by one has deadlocked with another, as it may.
fn is_refusal(error: &DieselError, plan: &Plan) -> bool {
    use diesel::result::DatabaseErrorKind::{ClosedConnection, UnableToSendCommand, Unknown};
    match error {
        DieselError::DatabaseError(ClosedConnection | UnableToSendCommand, _)
        | DieselError::BrokenTransactionManager => false,
        DieselError::DatabaseError(Unknown, info) => {
            let is_gone = GONE
                .iter()
                .chain(&GONE_TO_LIBPQ)
                .any(|gone| info.message().contains(gone));
            let has_deadlocked = info.message().contains("deadlock detected");
            !is_gone && (plan.in_bulk || !has_deadlocked)
        }
        DieselError::QueryBuilderError(_) => pgqueue_core::Error::of(error)
            .is_none_or(|error| error.kind() != pgqueue_core::ErrorKind::Connection),
        _ => true,
    }
}

fn carry_out(conn: &mut PgConnection, plan: &Plan) -> QueryResult<Vec<Enqueued>> {
    if plan.end == End::Alone {
        return enqueue(conn, plan);
    }
    conn.transaction(|conn| {
        diesel::sql_query(ORDERS)
            .bind::<Array<BigInt>, _>(plan.intents())
            .execute(conn)?;
        let enqueued = enqueue(conn, plan)?;
        ended(plan, enqueued)
    })
}

fn enqueue(conn: &mut PgConnection, plan: &Plan) -> QueryResult<Vec<Enqueued>> {
    let mut jobs = plan.jobs.iter().map(super::plan::Wish::to_new);
    if plan.in_bulk {
        return pgqueue_core::enqueue_all(conn, jobs);
    }
    jobs.try_fold(Vec::new(), |mut enqueued, job| {
        enqueued.push(job.enqueue(conn)?);
        Ok(enqueued)
    })
}

async fn carry_out_async(conn: &mut AsyncPgConnection, plan: &Plan) -> QueryResult<Vec<Enqueued>> {
    if plan.end == End::Alone {
        return enqueue_async(conn, plan).await;
    }
    conn.transaction(async |conn| {
        let orders = diesel::sql_query(ORDERS).bind::<Array<BigInt>, _>(plan.intents());
        diesel_async::RunQueryDsl::execute(orders, conn).await?;
        let enqueued = enqueue_async(conn, plan).await?;
        ended(plan, enqueued)
    })
    .await
}

async fn enqueue_async(conn: &mut AsyncPgConnection, plan: &Plan) -> QueryResult<Vec<Enqueued>> {
    let jobs = plan.jobs.iter().map(super::plan::Wish::to_new);
    if plan.in_bulk {
        return pgqueue_core::enqueue_all_async(conn, jobs).await;
    }
    let mut enqueued = Vec::new();
    for job in jobs {
        enqueued.push(job.enqueue_async(conn).await?);
    }
    Ok(enqueued)
}

/// Ends a transaction as it was planned.
fn ended(plan: &Plan, enqueued: Vec<Enqueued>) -> QueryResult<Vec<Enqueued>> {
    match plan.end {
        End::RollBack => Err(DieselError::RollbackTransaction),
        End::Die => std::process::abort(),
        End::Alone | End::Commit => Ok(enqueued),
    }
}
