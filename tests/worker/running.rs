//! The ways to run a worker and to end it, on every runtime and from every source.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use diesel_async::{AsyncConnection, AsyncPgConnection};
use pgqueue_core::{Context, JobState, NewJob, Outcome, RawJob, Source, Worker, admin};
use pgqueue_suite::{TestDatabase, wait_until};
use serde_json::json;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::sync::{Notify, watch};

use crate::{HOUR, Running, enqueue, errors, job, worker};

/// A handler that says it has started, and ends when it is released.
fn held(
    db: &TestDatabase,
) -> (
    pgqueue_core::WorkerBuilder,
    UnboundedReceiver<()>,
    watch::Sender<bool>,
) {
    let (start, started) = unbounded_channel();
    let (release, released) = watch::channel(false);
    let handler = move |_, _| {
        let (start, mut released) = (start.clone(), released.clone());
        async move {
            start.send(()).unwrap();
            released.wait_for(|released| *released).await.unwrap();
            Ok::<_, String>(())
        }
    };
    (worker(db, handler), started, release)
}

#[tokio::test]
async fn run_ends_when_its_future_resolves_and_lets_jobs_end() {
    let db = TestDatabase::migrated();
    let (builder, mut started, release) = held(&db);
    let end = Arc::new(Notify::new());
    let ended = Arc::clone(&end);
    let worker = builder.build().unwrap();
    let running = tokio::spawn(worker.run(async move { ended.notified().await }));
    let first = enqueue(&db, job());
    started.recv().await.unwrap();

    end.notify_one();
    let registered = "SELECT count(*) FROM pgqueue_workers";
    wait_until("the worker claims no more", async || {
        // It has no other sign: its claims leave a session that ends with the loop.
        db.number("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND query LIKE '-- Claims due%'") == 0
    })
    .await;
    let late = enqueue(&db, job());
    assert_eq!(db.number(registered), 1);
    release.send(true).unwrap();
    running.await.unwrap().unwrap();

    assert_eq!(db.job(first).state, JobState::Completed);
    assert_eq!(db.job(late).state, JobState::Pending);
    assert_eq!(db.number(registered), 0, "its row is gone");
}

#[tokio::test]
async fn a_handle_stops_a_worker_gracefully() {
    let db = TestDatabase::migrated();
    let (builder, mut started, release) = held(&db);
    let running = Running::start(builder);
    let id = enqueue(&db, job());
    started.recv().await.unwrap();

    running.handle.stop();
    release.send(true).unwrap();
    running.stop().await;

    let row = db.job(id);
    assert_eq!((row.state, row.attempt), (JobState::Completed, 1));
}

#[tokio::test]
async fn stop_now_releases_what_runs_without_costing_an_attempt() {
    let db = TestDatabase::migrated();
    let (builder, mut started, _release) = held(&db);
    let running = Running::start(builder);
    let id = enqueue(&db, job().max_retries(0));
    started.recv().await.unwrap();

    running.stop_now().await;

    let row = db.job(id);
    assert_eq!((row.state, row.attempt), (JobState::Pending, 0));
    assert_eq!((errors(&row).len(), row.claimed_by), (0, None));
}

#[tokio::test]
async fn what_outlives_the_grace_period_is_released() {
    let db = TestDatabase::migrated();
    let (builder, mut started, _release) = held(&db);
    let running = Running::start(builder.shutdown_grace(Duration::from_millis(20)));
    let id = enqueue(&db, job());
    started.recv().await.unwrap();

    running.stop().await;

    let row = db.job(id);
    assert_eq!((row.state, row.attempt), (JobState::Pending, 0));
}

#[tokio::test]
async fn a_handler_that_fails_because_of_the_shutdown_is_released() {
    let db = TestDatabase::migrated();
    let (start, mut started) = unbounded_channel();
    let handler = move |_, ctx: Context| {
        let start = start.clone();
        async move {
            start.send(()).unwrap();
            ctx.cancellation().cancelled().await;
            Err::<(), _>("interrupted")
        }
    };
    let running = Running::start(worker(&db, handler));
    let id = enqueue(&db, job().max_retries(0));
    started.recv().await.unwrap();

    running.stop_now().await;

    let row = db.job(id);
    assert_eq!((row.state, row.attempt), (JobState::Pending, 0));
}

#[tokio::test]
async fn a_worker_that_was_stopped_before_it_ran_runs_nothing() {
    let db = TestDatabase::migrated();
    let id = enqueue(&db, job());
    let worker = worker(&db, async |_, _| Ok::<_, String>(()))
        .build()
        .unwrap();

    worker.handle().stop();
    worker.run(std::future::pending::<()>()).await.unwrap();

    assert_eq!(db.job(id).fencing_token, 0);
}

#[tokio::test]
async fn a_dropped_worker_leaves_no_session_behind() {
    let db = TestDatabase::migrated();
    let (builder, mut started, _release) = held(&db);
    let running = Running::start(builder);
    enqueue(&db, job());
    started.recv().await.unwrap();

    running.task.abort();

    let sessions = "SELECT count(*) - 1 FROM pg_stat_activity WHERE datname = current_database()";
    wait_until("all its sessions have ended", async || {
        db.number(sessions) == 0
    })
    .await;
}

#[tokio::test]
async fn run_until_empty_follows_jobs_that_enqueue_jobs_to_the_last() {
    let db = TestDatabase::migrated();
    let handler = async |job: RawJob, ctx: Context| {
        let left = job.payload["left"].as_i64().unwrap();
        let mut conn = ctx.connection().await.unwrap();
        if left > 0 {
            let next = NewJob::new("job", json!({"left": left - 1}));
            next.enqueue_async(&mut *conn).await.unwrap();
        }
        Ok::<_, String>(())
    };
    enqueue(&db, NewJob::new("job", json!({"left": 60})));

    let worker = worker(&db, handler).build().unwrap();
    worker.run_until_empty().await.unwrap();

    assert_eq!(db.count(JobState::Completed), 61);
}

#[tokio::test]
async fn run_until_empty_leaves_what_is_not_due() {
    let db = TestDatabase::migrated();
    let handler = async |job: RawJob, _| match job.payload.as_str() {
        Some("fail") => Err("later"),
        Some("snooze") => Ok(Outcome::snooze(HOUR)),
        _ => Ok(Outcome::done()),
    };
    admin::pause("paused").run(&mut db.sync()).unwrap();
    let left = [
        NewJob::new("job", json!("fail")),
        NewJob::new("job", json!("snooze")),
        job().delay(HOUR),
        job().queue("paused"),
        NewJob::new("stranger", json!({})),
    ];
    let left = left.map(|job| enqueue(&db, job));
    let due = enqueue(&db, job());

    let builder = worker(&db, handler).queue("paused", 1).queue("default", 1);
    let worker = builder.retry_base_wait(HOUR).build().unwrap();
    worker.run_until_empty().await.unwrap();

    assert_eq!(db.job(due).state, JobState::Completed);
    for id in left {
        assert_eq!(db.job(id).state, JobState::Pending);
    }
}

#[tokio::test]
async fn run_until_empty_runs_jobs_that_lost_a_process() {
    let db = TestDatabase::migrated();
    db.execute(
        "INSERT INTO pgqueue_jobs (kind, payload, lost) SELECT 'job', '{}', 1 FROM generate_series(1, 5)",
    );

    let worker = worker(&db, async |_, _| Ok::<_, String>(()))
        .build()
        .unwrap();
    worker.run_until_empty().await.unwrap();

    assert_eq!(db.count(JobState::Completed), 5);
}

/// Migrates, enqueues and runs one job on the runtime that calls.
async fn end_to_end(url: &str, source: impl Into<Source>) {
    let mut conn = AsyncPgConnection::establish(url).await.unwrap();
    pgqueue_core::migrate_async(&mut conn).await.unwrap();
    let runs = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&runs);
    let worker = Worker::builder(source)
        .handle_kind("job", move |_, ctx: Context| {
            let counted = Arc::clone(&counted);
            async move {
                ctx.progress("half way").await?;
                counted.fetch_add(1, Ordering::SeqCst);
                Ok::<_, pgqueue_core::Error>(())
            }
        })
        .poll_interval(HOUR)
        .build()
        .unwrap();
    let handle = worker.handle();

    let done = async {
        job().enqueue_async(&mut conn).await.unwrap();
        wait_until("the job has run", async || runs.load(Ordering::SeqCst) == 1).await;
        handle.stop();
    };
    let (ended, ()) = tokio::join!(worker.run(std::future::pending::<()>()), done);

    ended.unwrap();
}

fn assert_completed(db: &TestDatabase) {
    let rows = db.jobs();
    assert_eq!((rows.len(), rows[0].state), (1, JobState::Completed));
    assert_eq!(rows[0].progress, Some(json!("half way")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_runs_on_a_multi_thread_runtime() {
    let db = TestDatabase::empty();
    end_to_end(db.url(), db.url()).await;
    assert_completed(&db);
}

#[tokio::test(flavor = "current_thread")]
async fn a_worker_runs_on_a_current_thread_runtime() {
    let db = TestDatabase::empty();
    end_to_end(db.url(), db.url()).await;
    assert_completed(&db);
}

#[actix_web::test]
async fn a_worker_runs_in_an_actix_system() {
    let db = TestDatabase::empty();
    end_to_end(db.url(), db.url()).await;
    assert_completed(&db);
}

#[test]
fn a_worker_runs_inside_actix_web_main() {
    #[actix_web::main]
    async fn main_of_an_app(db: &TestDatabase) {
        end_to_end(db.url(), db.url()).await;
    }
    let db = TestDatabase::empty();
    main_of_an_app(&db);
    assert_completed(&db);
}

#[tokio::test]
async fn a_worker_runs_from_a_deadpool() {
    let db = TestDatabase::empty();
    end_to_end(db.url(), db.deadpool(2)).await;
    assert_completed(&db);
}

#[tokio::test]
async fn a_worker_runs_from_a_bb8_pool() {
    let db = TestDatabase::empty();
    end_to_end(db.url(), db.bb8().await).await;
    assert_completed(&db);
}

#[tokio::test]
async fn a_registered_worker_says_who_it_is() {
    let db = TestDatabase::migrated();
    let builder = worker(&db, async |_, _| Ok::<_, String>(())).name("printer");
    let running = Running::start(builder.queue("mail", 3).queue("default", 2));
    let registered = "SELECT count(*) FROM pgqueue_workers WHERE name = 'printer' AND kinds = '{job}' \
        AND queues = '{\"mail\": 3, \"default\": 2}' AND expires_at > now()";

    wait_until("the worker is registered", async || {
        db.number(registered) == 1
    })
    .await;

    let process = format!(
        "SELECT count(*) FROM pgqueue_workers WHERE pid = {}",
        std::process::id()
    );
    assert_eq!(db.number(&process), 1);
    running.stop().await;
    assert_eq!(db.number("SELECT count(*) FROM pgqueue_workers"), 0);
}
