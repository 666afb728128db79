//! Statements that the server ran although the worker never heard so, that nobody answers, and sessions that end under it.

use super::*;
use pgqueue_core::{Context, ErrorKind, JobState};
use pgqueue_suite::proxy::statements::{BEAT, CLAIM, FINISH, LEDGER};
use pgqueue_suite::proxy::{Fault, Proxy};

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

/// A beat gives up a third of the lease after it began, with all that it had to do: there is time for another.
#[tokio::test]
async fn a_slow_connection_and_a_dropped_packet_in_one_beat_do_not_cost_the_lease() {
    let db = TestDatabase::migrated();
    let proxy = Proxy::start(db.url()).await;
    let lease = Duration::from_millis(4500);
    let third = lease / 3;
    let worker = Worker::builder(proxy.url()).lease(lease);
    let _worker = run(worker
        .handle(async |_: Act, _| Ok::<_, String>(()))
        .build()
        .unwrap());
    let job = enqueue(&db, Act::Return);
    db.wait_for_state(job, JobState::Completed).await;
    let connections = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()";
    wait_until("the worker has its six connections", async || {
        db.number(connections) == 6
    })
    .await;
    db.execute(
        "CREATE TABLE beats (late boolean);
         CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS
             $$ BEGIN INSERT INTO beats VALUES (OLD.expires_at < clock_timestamp()); RETURN NEW; END $$;
         CREATE TRIGGER note BEFORE UPDATE ON pgqueue_workers FOR EACH ROW EXECUTE FUNCTION note()",
    );

    proxy.delay_connections([third * 8 / 10, third * 2 / 10]);
    proxy.arm(BEAT, Fault::Swallow);
    proxy.arm(BEAT, Fault::Terminate);
    wait_until("both faults have struck", async || proxy.struck() == 2).await;
    let beats = db.number("SELECT count(*) FROM beats");
    wait_until("it beats again", async || {
        db.number("SELECT count(*) FROM beats") > beats
    })
    .await;

    assert_eq!(db.number("SELECT count(*) FROM beats WHERE late"), 0);
}

#[tokio::test]
async fn a_start_that_nobody_answers_fails() {
    let db = TestDatabase::migrated();
    let proxy = Proxy::start(db.url()).await;
    proxy.arm(LEDGER, Fault::Swallow);

    let worker = Worker::builder(proxy.url()).handle(async |_: Act, _| Ok::<_, String>(()));
    let start = worker.build().unwrap().run(std::future::pending::<()>());
    let failed = tokio::time::timeout(Duration::from_secs(60), start).await;

    let error = failed.expect("it does not wait for ever").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Connection);
    assert_eq!(proxy.struck(), 1);
}

#[tokio::test]
async fn a_listen_that_nobody_answers_is_tried_again_on_another_connection() {
    let db = TestDatabase::migrated();
    let proxy = Proxy::start(db.url()).await;
    proxy.arm("LISTEN", Fault::Swallow);

    let _worker = run_behind(&proxy);

    wait_until("LISTEN was swallowed", async || proxy.struck() == 1).await;
    let listening = format!("SELECT count(*) {LISTENERS}");
    wait_until("it listens", async || db.number(&listening) == 1).await;
}

#[tokio::test]
async fn a_listener_that_goes_silent_is_found_out_and_another_one_hears() {
    let db = TestDatabase::migrated();
    let proxy = Proxy::start(db.url()).await;
    let worker = Worker::builder(proxy.url()).poll_interval(Duration::from_secs(3600));
    let worker = worker.handle(async |_: Act, _| Ok::<_, String>(()));
    let _worker = run(worker.build().unwrap());
    let listening = format!("SELECT count(*) {LISTENERS}");
    wait_until("it listens", async || db.number(&listening) == 1).await;
    let silent = db.number(&format!("SELECT pid {LISTENERS}"));

    // The session stays, and hears; what it says goes nowhere.
    proxy.arm("'probe'", Fault::Swallow);
    wait_until("a probe was swallowed", async || proxy.struck() == 1).await;
    let job = enqueue(&db, Act::Return);

    db.wait_for_state(job, JobState::Completed).await;
    let another = format!("{listening} AND pid <> {silent}");
    wait_until("another session listens", async || db.number(&another) == 1).await;
    let next = enqueue(&db, Act::Return);
    db.wait_for_state(next, JobState::Completed).await;
}

#[tokio::test]
async fn an_enqueue_is_answered_when_its_commit_is_and_not_before() {
    let db = TestDatabase::migrated();
    let proxy = Proxy::start(db.url()).await;
    let job = || pgqueue_core::new(Act::Return);
    let connect = async || {
        proxy.arm("-- Enqueues", Fault::LoseEnd);
        let made = <diesel_async::AsyncPgConnection as diesel_async::AsyncConnection>::establish(
            proxy.url(),
        );
        made.await.unwrap()
    };

    let one = job().enqueue_async(&mut connect().await).await;
    let keyed = job().unique_key("key");
    let keyed = keyed.enqueue_async(&mut connect().await).await;
    let many = pgqueue_core::enqueue_all_async(&mut connect().await, [job()]).await;
    let url = proxy.url().to_owned();
    proxy.arm("-- Enqueues", Fault::LoseEnd);
    let sync = tokio::task::spawn_blocking(move || {
        let conn = <diesel::PgConnection as diesel::Connection>::establish(&url);
        job().enqueue(&mut conn.unwrap())
    });
    let sync = sync.await.unwrap();

    assert_eq!(proxy.struck(), 4);
    for answer in [
        one.map(|_| ()),
        keyed.map(|_| ()),
        many.map(|_| ()),
        sync.map(|_| ()),
    ] {
        assert!(answer.is_err(), "the commit was not heard of: {answer:?}");
    }
}
