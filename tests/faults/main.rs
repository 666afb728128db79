//! What happens to jobs when processes, connections and servers die, stop or lie: real processes, real signals.
//!
//! Leases are short, so that a test takes seconds. Bounds are those of the guarantees, in the database's time; [`NOISE`]
//! is added for a machine that is busy with other tests.

#![expect(
    clippy::unwrap_used,
    reason = "a helper that unwraps fails with the line to look at, as a test does"
)]

mod crash;
mod cursor;
mod disk;
mod maintenance;
mod outage;
mod poison;
mod reaper;
mod replies;
mod shutdown;
mod stuck;
mod zombie;

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use pgqueue_core::{Job, JobRow, Worker, WorkerBuilder};
use pgqueue_suite::process::{Act, Settings, WorkerProcess};
use pgqueue_suite::running::{Running, run};
use pgqueue_suite::{TestDatabase, wait_until};

/// The lease of most tests: short, but longer than a busy machine keeps a thread waiting.
const LEASE: Duration = Duration::from_millis(1800);
/// How often a worker of that lease looks for dead ones.
const REAP: Duration = Duration::from_millis(300);
/// What a busy machine may add to a bound.
const NOISE: Duration = Duration::from_secs(3);

/// The sessions that listen: the last statement of a healthy one is its probe, which it sends after LISTEN alone.
const LISTENERS: &str = "FROM pg_stat_activity WHERE datname = current_database() AND state = 'idle' AND query LIKE 'NOTIFY%probe%'";

/// Enqueues a job.
fn enqueue(db: &TestDatabase, job: impl Job) -> i64 {
    job.enqueue(&mut db.sync()).unwrap().id
}

/// Starts a worker process.
fn process(settings: &Settings) -> WorkerProcess {
    WorkerProcess::start(env!("CARGO_BIN_EXE_worker-process"), settings)
}

/// Starts a worker process of the usual settings.
fn process_named(db: &TestDatabase, name: &str) -> WorkerProcess {
    process(&Settings::new(db.url(), name, LEASE))
}

/// Starts to build a worker in this process that loses no time.
fn builder(db: &TestDatabase) -> WorkerBuilder {
    Worker::builder(db.url())
        .name("here")
        .lease(LEASE)
        .lost_base_wait(Duration::ZERO)
        .retry_base_wait(Duration::from_millis(100))
}

/// Starts a worker in this process that completes every [`Act`] at once, with its name as the output, and waits until
/// it may judge others.
async fn judge(db: &TestDatabase) -> Running {
    let worker = builder(db)
        .handle(async |_: Act, _| Ok::<_, String>("here"))
        .build()
        .unwrap();
    let running = run(worker);
    wait_until_judging(db, "here").await;
    running
}

/// Waits until the worker of this name has been up for a lease.
async fn wait_until_judging(db: &TestDatabase, name: &str) {
    let up = format!(
        "SELECT count(*) FROM pgqueue_workers WHERE name = '{name}' AND started_at < clock_timestamp() - interval '{} milliseconds'",
        LEASE.as_millis()
    );
    wait_until(&format!("{name} has been up for a lease"), async || {
        db.number(&up) > 0
    })
    .await;
}

/// Waits until so many workers of this name are registered.
async fn wait_for_workers(db: &TestDatabase, name: &str, count: i64) {
    let registered = format!("SELECT count(*) FROM pgqueue_workers WHERE name = '{name}'");
    wait_until(
        &format!("{count} workers {name} are registered"),
        async || db.number(&registered) == count,
    )
    .await;
}

/// Reads the database's clock.
fn now(db: &TestDatabase) -> DateTime<Utc> {
    time(db, "clock_timestamp()")
}

/// Reads one point in time.
fn time(db: &TestDatabase, expression: &str) -> DateTime<Utc> {
    let microseconds = db.number(&format!(
        "SELECT extract(epoch FROM ({expression})) * 1000000"
    ));
    DateTime::from_timestamp_micros(microseconds).unwrap()
}

/// Gives the kinds of a job's failures, oldest first.
fn failures(job: &JobRow) -> Vec<&str> {
    job.errors.iter().map(|error| error.kind.as_str()).collect()
}

/// Gives the time of a job's newest failure.
fn failed_at(job: &JobRow) -> DateTime<Utc> {
    job.errors.last().unwrap().at.unwrap()
}

/// Checks that something happened in time, by the database's clock.
fn assert_within(from: DateTime<Utc>, to: DateTime<Utc>, bound: Duration) {
    let took = to - from;
    let most = TimeDelta::from_std(bound + NOISE).unwrap();
    assert!(
        took <= most,
        "took {took}, the bound is {bound:?} + {NOISE:?}"
    );
}
