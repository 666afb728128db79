//! Cancelling jobs that wait and jobs that run.

use std::time::Duration;

use pgqueue_core::admin::{self, SkipReason};
use pgqueue_core::{Context, JobState, NewJob, RawJob, WorkerBuilder};
use pgqueue_suite::{TestDatabase, wait_until};
use serde_json::json;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::sync::watch;

use crate::{
    Ear, HOUR, LISTENER, Running, enqueue, errors, job, last_error, wait_until_listening, worker,
};

/// A worker whose handler says that it has started, and that it was told to stop; then it waits to be released.
fn stoppable(
    db: &TestDatabase,
) -> (
    WorkerBuilder,
    UnboundedReceiver<&'static str>,
    watch::Sender<bool>,
) {
    let (tell, tells) = unbounded_channel();
    let (release, released) = watch::channel(false);
    let handler = move |job: RawJob, ctx: Context| {
        let (tell, mut released) = (tell.clone(), released.clone());
        async move {
            tell.send("started").unwrap();
            ctx.cancellation().cancelled().await;
            tell.send("told to stop").unwrap();
            released.wait_for(|released| *released).await.unwrap();
            match job.payload["then"].as_str() {
                Some("fail") => Err("stopped half way"),
                _ => Ok(()),
            }
        }
    };
    (worker(db, handler).stop_wait(HOUR), tells, release)
}

/// The channel of the only worker.
fn own_channel(db: &TestDatabase) -> String {
    let worker = db.number("SELECT id FROM pgqueue_workers");
    format!("pgqueue.public.{worker}")
}

#[tokio::test]
async fn a_pending_job_is_cancelled_at_once() {
    let db = TestDatabase::migrated();
    let id = enqueue(&db, job().unique_key("order:1"));

    let done = admin::cancel(id).run(&mut db.sync()).unwrap();

    assert_eq!((done.changed, done.requested), (1, 0));
    let row = db.job(id);
    assert_eq!(row.state, JobState::Cancelled);
    assert!(row.finished_at.is_some() && row.cancel_requested_at.is_none());
    let again = job().unique_key("order:1").enqueue(&mut db.sync()).unwrap();
    assert!(again.inserted, "its key is free");
}

#[tokio::test]
async fn a_running_job_is_cancelled_when_its_handler_has_stopped() {
    let db = TestDatabase::migrated();
    let (builder, mut tells, release) = stoppable(&db);
    let running = Running::start(builder);
    let id = enqueue(&db, job());
    assert_eq!(tells.recv().await, Some("started"));
    let mut ear = Ear::open(&db, &own_channel(&db)).await;

    let done = admin::cancel(id).run(&mut db.sync()).unwrap();

    assert_eq!((done.changed, done.requested), (0, 1));
    ear.hears(&id.to_string()).await;
    assert_eq!(tells.recv().await, Some("told to stop"));
    let row = db.job(id);
    assert_eq!(row.state, JobState::Running);
    assert!(row.cancel_requested_at.is_some());
    release.send(true).unwrap();
    let row = db.wait_for_state(id, JobState::Cancelled).await;
    assert_eq!(
        (row.attempt, last_error(&row)),
        (1, "cancelled while it ran")
    );
    running.stop().await;
}

#[tokio::test]
async fn a_notification_stops_only_what_the_table_says_is_to_be_stopped() {
    let db = TestDatabase::migrated();
    let (builder, mut tells, release) = stoppable(&db);
    let running = Running::start(builder);
    wait_until_listening(&db).await;
    let (asked, unasked) = (enqueue(&db, job()), enqueue(&db, job()));
    assert_eq!(tells.recv().await, Some("started"));
    assert_eq!(tells.recv().await, Some("started"));

    db.execute(&format!("NOTIFY \"{}\", '{unasked}'", own_channel(&db)));
    admin::cancel(asked).run(&mut db.sync()).unwrap();
    assert_eq!(tells.recv().await, Some("told to stop"));
    release.send(true).unwrap();
    db.wait_for_state(asked, JobState::Cancelled).await;

    assert_eq!(db.job(unasked).state, JobState::Running);
    assert!(tells.try_recv().is_err(), "nobody else was told");
    running.stop_now().await;
}

#[tokio::test]
async fn a_cancelled_run_that_fails_is_not_retried() {
    let db = TestDatabase::migrated();
    let (builder, mut tells, release) = stoppable(&db);
    let running = Running::start(builder);
    let id = enqueue(&db, NewJob::new("job", json!({"then": "fail"})));
    assert_eq!(tells.recv().await, Some("started"));

    admin::cancel(id).run(&mut db.sync()).unwrap();
    release.send(true).unwrap();

    let row = db.wait_for_state(id, JobState::Cancelled).await;
    assert_eq!((row.attempt, errors(&row).len()), (1, 1));
    running.stop().await;
}

#[tokio::test]
async fn until_a_cancelled_run_has_stopped_its_key_is_taken_and_it_cannot_be_requeued() {
    let db = TestDatabase::migrated();
    let (builder, mut tells, release) = stoppable(&db);
    let running = Running::start(builder);
    let keyed = || job().unique_key("order:1");
    let id = enqueue(&db, keyed());
    assert_eq!(tells.recv().await, Some("started"));

    admin::cancel(id).run(&mut db.sync()).unwrap();
    assert_eq!(tells.recv().await, Some("told to stop"));

    let duplicate = keyed().enqueue(&mut db.sync()).unwrap();
    assert_eq!((duplicate.id, duplicate.inserted), (id, false));
    let requeued = admin::requeue(id).run(&mut db.sync()).unwrap();
    assert_eq!((requeued.changed, requeued.skipped.len()), (0, 1));
    assert_eq!(requeued.skipped[0].reason, SkipReason::State);
    release.send(true).unwrap();
    db.wait_for_state(id, JobState::Cancelled).await;
    assert!(keyed().enqueue(&mut db.sync()).unwrap().inserted);
    running.stop_now().await;
}

#[tokio::test]
async fn an_async_handler_that_ignores_its_cancellation_is_aborted() {
    let db = TestDatabase::migrated();
    let (tell, mut tells) = unbounded_channel();
    let handler = move |_, _| {
        tell.send(()).unwrap();
        async { std::future::pending::<Result<(), String>>().await }
    };
    let running = Running::start(worker(&db, handler).stop_wait(Duration::ZERO));
    let id = enqueue(&db, job());
    tells.recv().await.unwrap();

    admin::cancel(id).run(&mut db.sync()).unwrap();

    let row = db.wait_for_state(id, JobState::Cancelled).await;
    assert_eq!(row.attempt, 1);
    running.stop().await;
}

#[tokio::test]
async fn a_cancellation_that_was_not_announced_is_found_by_polling() {
    let db = TestDatabase::migrated();
    let (builder, mut tells, release) = stoppable(&db);
    let running = Running::start(builder.poll_interval(Duration::from_millis(100)));
    release.send(true).unwrap();
    let id = enqueue(&db, job());
    assert_eq!(tells.recv().await, Some("started"));

    db.execute("UPDATE pgqueue_jobs SET cancel_requested_at = now()");

    db.wait_for_state(id, JobState::Cancelled).await;
    running.stop().await;
}

#[tokio::test]
async fn a_cancellation_is_found_by_polling_while_no_connection_can_listen() {
    let db = TestDatabase::migrated();
    let (builder, mut tells, release) = stoppable(&db);
    let running = Running::start(builder);
    release.send(true).unwrap();
    let id = enqueue(&db, job());
    assert_eq!(tells.recv().await, Some("started"));

    db.execute("UPDATE pgqueue_jobs SET cancel_requested_at = now()");

    wait_until(
        "the job is cancelled, its listener killed all the while",
        async || {
            db.execute(&format!("SELECT pg_terminate_backend(pid) {LISTENER}"));
            db.job(id).state == JobState::Cancelled
        },
    )
    .await;
    running.stop().await;
}

#[tokio::test]
async fn a_job_that_has_ended_is_skipped() {
    let db = TestDatabase::migrated();
    let id = enqueue(&db, job());
    admin::cancel(id).run(&mut db.sync()).unwrap();

    let done = admin::cancel(vec![id, 999_999])
        .run(&mut db.sync())
        .unwrap();

    assert_eq!((done.changed, done.requested), (0, 0));
    let skipped: Vec<_> = done.skipped.iter().map(|s| (s.id, s.reason)).collect();
    assert_eq!(
        skipped,
        [(id, SkipReason::State), (999_999, SkipReason::Missing)]
    );
}
