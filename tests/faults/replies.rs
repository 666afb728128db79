//! Statements that the server ran although the worker never heard so, and sessions that end under it.

use super::*;
use crate::proxy::{Fault, Proxy};
use pgqueue_core::{Context, JobState};

const CLAIM: &str = "-- Claims due jobs of several queues";
const FINISH: &str = "-- Ends runs";

/// Starts a worker behind a proxy that runs one job at a time and keeps the job's id as its output.
fn run_behind(proxy: &Proxy) -> Running {
    let worker = Worker::builder(proxy.url())
        .lease(LEASE)
        .concurrency(1)
        .handle(async |_: Act, ctx: Context| Ok::<_, String>(ctx.id()));
    run(worker.build().unwrap())
}

#[tokio::test]
async fn a_claim_whose_reply_was_lost_is_released_unburnt_by_the_living_worker_and_runs_once() {
    let db = TestDatabase::migrated();
    let proxy = Proxy::start(db.url()).await;
    proxy.arm(CLAIM, Fault::LoseReply);
    let job = enqueue(&db, Act::Return);

    let _worker = run_behind(&proxy);
    let row = db.wait_for_state(job, JobState::Completed).await;

    assert_eq!(proxy.struck(), 1);
    assert_eq!((row.attempt, row.lost, row.fencing_token), (1, 0, 2));
    assert_eq!(failures(&row), [""; 0]);
    assert_eq!(
        db.number("SELECT max(id) FROM pgqueue_workers"),
        1,
        "the same worker"
    );
}

#[tokio::test]
async fn an_end_whose_reply_was_lost_is_stored_once_and_counted_as_what_it_was() {
    let db = TestDatabase::migrated();
    let proxy = Proxy::start(db.url()).await;
    proxy.arm(FINISH, Fault::LoseReply);
    let job = enqueue(&db, Act::Return);

    let _worker = run_behind(&proxy);
    let row = db.wait_for_state(job, JobState::Completed).await;
    let next = enqueue(&db, Act::Return);
    db.wait_for_state(next, JobState::Completed).await;
    let completed = "SELECT coalesce(sum(completed), 0) FROM pgqueue_stats";
    wait_until("both are counted", async || db.number(completed) == 2).await;

    assert_eq!(proxy.struck(), 1);
    assert_eq!(db.job(job), row);
    assert_eq!(
        (row.attempt, row.fencing_token, row.output),
        (1, 1, Some(job.into()))
    );
    assert_eq!(db.number("SELECT sum(failed) FROM pgqueue_stats"), 0);
}

#[tokio::test]
async fn an_end_that_meets_the_end_of_its_session_is_stored_whole_by_the_next() {
    let db = TestDatabase::migrated();
    let proxy = Proxy::start(db.url()).await;
    proxy.arm(FINISH, Fault::Terminate);
    let job = enqueue(&db, Act::Return);

    let _worker = run_behind(&proxy);
    let row = db.wait_for_state(job, JobState::Completed).await;

    assert_eq!(proxy.struck(), 1);
    assert_eq!((row.attempt, row.output), (1, Some(job.into())));
}

#[tokio::test]
async fn a_claim_that_meets_the_end_of_its_session_is_made_again() {
    let db = TestDatabase::migrated();
    let proxy = Proxy::start(db.url()).await;
    proxy.arm(CLAIM, Fault::Terminate);
    let job = enqueue(&db, Act::Return);

    let _worker = run_behind(&proxy);
    let row = db.wait_for_state(job, JobState::Completed).await;

    assert_eq!(proxy.struck(), 1);
    assert_eq!((row.attempt, row.fencing_token), (1, 1));
}
