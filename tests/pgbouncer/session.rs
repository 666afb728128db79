//! Session mode: a client keeps its session until it leaves, and all of a worker's life goes on as on a direct connection.

use std::sync::Arc;
use std::time::Duration;

use diesel_async::AsyncConnection;
use diesel_async::pooled_connection::{AsyncDieselConnectionManager, deadpool};
use pgqueue_core::{
    BoxError, Context, JobState, NewJob, RawJob, Worker, admin, enqueue_all, migrate, migrate_async,
};
use pgqueue_suite::process::{Act, Settings, WorkerProcess};
use pgqueue_suite::{TestDatabase, wait_until};
use serde_json::json;
use tokio::sync::Notify;

use crate::pooler::PgBouncer;
use crate::{HOUR, Running, job, run_chain, worker};

fn in_front_of(db: &TestDatabase) -> PgBouncer {
    PgBouncer::start(db, &["pool_mode = session", "default_pool_size = 50"])
}

#[tokio::test]
async fn migrations_run_at_once_from_many_clients() {
    let db = TestDatabase::empty();
    let pooler = in_front_of(&db);
    let (mut sync, mut conn) = (pooler.sync(), pooler.asynchronous().await);

    let migrating = std::thread::spawn(move || migrate(&mut sync));
    migrate_async(&mut conn).await.unwrap();

    migrating.join().unwrap().unwrap();
    assert_eq!(db.number("SELECT count(*) FROM pgqueue_migrations"), 2);
}

#[tokio::test]
async fn a_worker_hears_of_each_job_that_is_enqueued() {
    let db = TestDatabase::migrated();
    let pooler = in_front_of(&db);
    let running = Running::start(worker(pooler.url()));
    let (mut sync, mut conn) = (pooler.sync(), pooler.asynchronous().await);

    run_chain(&db, async || job().enqueue(&mut sync).unwrap().id).await;
    run_chain(&db, async || {
        job().enqueue_async(&mut conn).await.unwrap().id
    })
    .await;

    running.stop().await;
}

#[tokio::test]
async fn a_bulk_with_keys_is_enqueued_in_a_transaction() {
    let db = TestDatabase::migrated();
    let pooler = in_front_of(&db);
    let keyed = |key: &str| job().unique_key(key);

    let enqueued = diesel::Connection::transaction(&mut pooler.sync(), |conn| {
        enqueue_all(conn, [keyed("a"), keyed("a"), keyed("b"), job()])
    });

    let inserted: Vec<bool> = enqueued.unwrap().iter().map(|job| job.inserted).collect();
    assert_eq!(inserted, [true, false, true, true]);
    assert_eq!(db.count(JobState::Pending), 3);
}

#[tokio::test]
async fn a_job_that_fails_is_tried_again_until_it_succeeds() {
    let db = TestDatabase::migrated();
    let pooler = in_front_of(&db);
    let fails_twice = async |_: RawJob, ctx: Context| match ctx.attempt() {
        ..3 => Err("not yet"),
        _ => Ok(()),
    };
    let builder = Worker::builder(pooler.url()).handle_kind("job", fails_twice);
    let running = Running::start(builder.retry_base_wait(Duration::from_millis(10)));

    let id = job().enqueue(&mut pooler.sync()).unwrap().id;

    let row = db.wait_for_state(id, JobState::Completed).await;
    assert_eq!((row.attempt, row.errors.len()), (3, 2));
    running.stop().await;
}

#[tokio::test]
async fn a_running_job_hears_that_it_is_cancelled() {
    let db = TestDatabase::migrated();
    let pooler = in_front_of(&db);
    let until_cancelled = async |_: RawJob, ctx: Context| {
        ctx.cancellation().cancelled().await;
        Ok::<_, String>(())
    };
    let builder = Worker::builder(pooler.url()).handle_kind("job", until_cancelled);
    let running = Running::start(builder.poll_interval(HOUR));
    let id = job().enqueue(&mut pooler.sync()).unwrap().id;
    db.wait_for_state(id, JobState::Running).await;

    admin::cancel(id).run(&mut pooler.sync()).unwrap();

    db.wait_for_state(id, JobState::Cancelled).await;
    running.stop().await;
}

#[tokio::test]
async fn an_effect_and_its_completion_commit_together_on_a_pool_through_it() {
    let db = TestDatabase::migrated();
    db.execute("CREATE TABLE effects (job_id bigint PRIMARY KEY)");
    let pooler = in_front_of(&db);
    let manager = AsyncDieselConnectionManager::new(pooler.url());
    let pool = deadpool::Pool::builder(manager)
        .max_size(2)
        .build()
        .unwrap();
    let builder = Worker::builder(pool).handle_kind("job", |_, ctx: Context| async move {
        let mut conn = ctx.connection().await?;
        let effect = format!("INSERT INTO effects VALUES ({})", ctx.id());
        let both = conn.transaction(async |conn| {
            diesel_async::SimpleAsyncConnection::batch_execute(conn, &effect).await?;
            ctx.complete_in_async(conn).await
        });
        both.await?;
        Ok::<_, BoxError>(())
    });
    let running = Running::start(builder);

    let jobs = enqueue_all(
        &mut pooler.sync(),
        (0..50).map(|_| job()).collect::<Vec<NewJob>>(),
    );

    db.wait_for_count(JobState::Completed, 50).await;
    assert_eq!(jobs.unwrap().len(), 50);
    assert_eq!(db.number("SELECT count(*) FROM effects"), 50);
    running.stop().await;
}

#[tokio::test]
async fn a_job_whose_process_was_killed_is_rescued() {
    let db = TestDatabase::migrated();
    let pooler = in_front_of(&db);
    let lease = Duration::from_millis(1800);
    let settings = Settings::new(pooler.url(), "killed", lease);
    let mut process = WorkerProcess::start(env!("CARGO_BIN_EXE_worker-process"), &settings);
    let id = pgqueue_core::Job::enqueue(&Act::Wait, &mut pooler.sync())
        .unwrap()
        .id;
    process.wait_for_begin(id).await;

    process.kill();
    let builder = Worker::builder(pooler.url()).lease(lease);
    let builder = builder.lost_base_wait(Duration::ZERO);
    let running = Running::start(builder.handle(async |_: Act, _| Ok::<_, String>(())));

    let row = db.wait_for_state(id, JobState::Completed).await;
    assert_eq!((row.attempt, row.lost), (2, 1));
    running.stop().await;
}

#[tokio::test]
async fn a_worker_survives_a_restart_of_its_pooler() {
    let db = TestDatabase::migrated();
    let mut pooler = in_front_of(&db);
    let gate = Arc::new(Notify::new());
    let open = Arc::clone(&gate);
    let waits = move |_: RawJob, _: Context| {
        let open = Arc::clone(&open);
        async move {
            open.notified().await;
            Ok::<_, String>(())
        }
    };
    let builder = Worker::builder(pooler.url()).handle_kind("job", waits);
    let running = Running::start(builder);
    let id = NewJob::new("job", json!({}))
        .enqueue(&mut db.sync())
        .unwrap()
        .id;
    db.wait_for_state(id, JobState::Running).await;
    let sessions = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()
                    AND pid <> pg_backend_pid()";

    pooler.restart();
    wait_until("its sessions are gone", async || db.number(sessions) == 0).await;
    gate.notify_one();

    let row = db.wait_for_state(id, JobState::Completed).await;
    assert_eq!(row.attempt, 1);
    running.stop().await;
}
