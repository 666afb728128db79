//! Handlers, rows and moments that must not cost a job.

use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel_async::AsyncConnection;
use pgqueue_core::{Context, JobState, NewJob, admin, enqueue_all};
use pgqueue_suite::{TestDatabase, wait_until};
use serde_json::json;
use tokio::sync::mpsc::unbounded_channel;

use crate::{Running, enqueue, errors, job, wait_until_listening, worker};

#[tokio::test(flavor = "multi_thread")]
async fn a_graceful_stop_in_the_middle_of_a_drain_costs_no_job_an_attempt() {
    for _ in 0..5 {
        let db = TestDatabase::migrated();
        enqueue_all(&mut db.sync(), (0..3000).map(|_| job())).unwrap();
        let (ran, mut runs) = unbounded_channel();
        let handler = move |_, _: Context| {
            let ran = ran.clone();
            async move { ran.send(()).map_err(|error| error.to_string()) }
        };
        let running = Running::start(worker(&db, handler).concurrency(100));
        runs.recv().await.unwrap();

        running.stop().await;

        assert_eq!(db.count(JobState::Running), 0);
        assert_eq!(
            db.count(JobState::Pending) + db.count(JobState::Completed),
            3000
        );
        let burnt = "SELECT count(*) FROM pgqueue_jobs WHERE state = 'pending' AND (attempt, lost) <> (0, 0)";
        assert_eq!(db.number(burnt), 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_async_handler_that_blocks_its_thread_is_given_up_when_it_is_cancelled() {
    let db = TestDatabase::migrated();
    let (release, released) = mpsc::channel::<()>();
    let (started, mut starts) = unbounded_channel();
    let released = Arc::new(Mutex::new(released));
    let handler = move |_, _: Context| {
        let (started, released) = (started.clone(), Arc::clone(&released));
        async move {
            started.send(()).map_err(|error| error.to_string())?;
            let _released = released.lock().unwrap().recv();
            Ok::<_, String>(())
        }
    };
    let running = Running::start(worker(&db, handler).stop_wait(Duration::ZERO));
    let id = enqueue(&db, job().unique_key("one"));
    starts.recv().await.unwrap();

    admin::cancel(id).run(&mut db.sync()).unwrap();

    db.wait_for_state(id, JobState::Cancelled).await;
    release.send(()).unwrap();
    running.stop().await;
}

#[tokio::test]
async fn an_aborted_handler_leaves_no_transaction_open() {
    let db = TestDatabase::migrated();
    let (locked, mut locks) = unbounded_channel();
    let handler = move |_, ctx: Context| {
        let locked = locked.clone();
        async move {
            let mut conn = ctx.connection().await?;
            conn.transaction(async |conn| {
                ctx.complete_in_async(conn).await?;
                let _receiver_has_gone = locked.send(());
                std::future::pending::<QueryResult<()>>().await
            })
            .await?;
            anyhow::Ok(())
        }
    };
    let pool = db.deadpool(5);
    let builder = pgqueue_core::Worker::builder(pool.clone()).handle_kind("job", handler);
    let running = Running::start(builder.stop_wait(Duration::ZERO));
    let id = enqueue(&db, job());
    locks.recv().await.unwrap();

    let open = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND state = 'idle in transaction'";

    running.stop_now().await;
    wait_until("no transaction is open", async || db.number(open) == 0).await;
    assert_eq!(db.job(id).state, JobState::Pending);
    assert_eq!(db.job(id).attempt, 0);
    drop(pool);
}

#[tokio::test]
async fn a_job_that_has_lost_a_process_is_not_starved_by_a_backlog() {
    let db = TestDatabase::migrated();
    let suspect = enqueue(&db, job().priority(9));
    db.execute("UPDATE pgqueue_jobs SET lost = 1, attempt = 1");
    enqueue_all(&mut db.sync(), (0..200).map(|_| job())).unwrap();
    let order = Arc::new(Mutex::new(Vec::new()));
    let handler = {
        let order = Arc::clone(&order);
        move |_, ctx: Context| {
            order.lock().unwrap().push(ctx.id());
            async move { Ok::<_, String>(()) }
        }
    };

    worker(&db, handler)
        .concurrency(1)
        .build()
        .unwrap()
        .run_until_empty()
        .await
        .unwrap();

    let order = order.lock().unwrap();
    assert_eq!(order.len(), 201);
    assert!(
        order.iter().position(|id| *id == suspect).unwrap() < 100,
        "{order:?}"
    );
}

#[tokio::test]
async fn no_storable_row_stops_the_claims_of_its_queue() {
    let db = TestDatabase::migrated();
    db.execute(
        "SET pgqueue.payload_limit = '4000000'; \
         INSERT INTO pgqueue_jobs (kind, payload, timeout) VALUES ('job', '{}', '101 years'); \
         INSERT INTO pgqueue_jobs (kind, payload, attempt) VALUES ('job', '{}', 2147483647); \
         INSERT INTO pgqueue_jobs (kind, payload, created_at) VALUES ('job', '{}', '4000-01-01'); \
         INSERT INTO pgqueue_jobs (kind, payload) \
         SELECT 'job', to_jsonb(string_agg(md5(n::text), '')) FROM generate_series(1, 60000) AS n",
    );
    let id = enqueue(&db, job());

    worker(&db, |_, _| async { Ok::<_, String>(()) })
        .build()
        .unwrap()
        .run_until_empty()
        .await
        .unwrap();

    assert_eq!(db.job(id).state, JobState::Completed);
    assert_eq!(db.count(JobState::Completed), 5);
    for column in ["timeout = '102 years'", "created_at = 'infinity'"] {
        let update = format!("UPDATE pgqueue_jobs SET {column}");
        let refused = diesel::sql_query(update).execute(&mut db.sync());
        assert!(refused.is_err(), "{column} is stored");
    }
}

#[test]
fn a_row_that_takes_little_and_prints_long_is_not_stored() {
    let db = TestDatabase::migrated();
    let insert = |limit: i64, numbers: i64, columns: &str, values: &str| {
        let mut conn = db.sync();
        conn.batch_execute(&format!("SET pgqueue.payload_limit = {limit}"))
            .unwrap();
        let numbers =
            format!("SELECT jsonb_agg(1e131071) AS json FROM generate_series(1, {numbers})");
        conn.batch_execute(&format!(
            "INSERT INTO pgqueue_jobs (kind, {columns}) SELECT 'job', {values} FROM ({numbers}) AS numbers"
        ))
        .map_err(|error| error.to_string())
    };
    let (payload, metadata) = (
        ("payload", "json"),
        ("payload, metadata", "'{}', jsonb_build_object('n', json)"),
    );

    for (columns, values) in [payload, metadata] {
        for (limit, numbers) in [(1_000_000, 8), (1_000_000_000, 600)] {
            let refused = insert(limit, numbers, columns, values).unwrap_err();
            assert!(refused.contains("_size"), "{refused}");
        }
        insert(1_000_000, 7, columns, values).unwrap();
    }

    assert_eq!(db.count(JobState::Pending), 2);
}

#[tokio::test]
async fn an_id_beyond_32_bits_goes_all_the_way() {
    let db = TestDatabase::migrated();
    db.execute("ALTER TABLE pgqueue_jobs ALTER COLUMN id RESTART WITH 5000000000");
    db.execute("ALTER TABLE pgqueue_workers ALTER COLUMN id RESTART WITH 6000000000");
    let id = enqueue(&db, job().max_retries(0).unique_key("key"));
    db.execute("UPDATE pgqueue_jobs SET fencing_token = 7000000000");
    let handler = |_, ctx: Context| async move {
        if ctx.attempt() == 1 && ctx.fencing_token() == 7_000_000_001 {
            return Err("the first run".to_owned());
        }
        Ok(ctx.id())
    };
    let run = async || {
        let worker = worker(&db, handler).build().unwrap();
        worker.run_until_empty().await.unwrap();
    };

    run().await;
    assert_eq!(db.job(id).state, JobState::Dead);
    let requeued = admin::requeue(id).run(&mut db.sync()).unwrap();
    run().await;

    assert_eq!((id, requeued.changed), (5_000_000_000, 1));
    let row = db.job(id);
    assert_eq!(
        (row.state, row.output, row.fencing_token),
        (JobState::Completed, Some(json!(id)), 7_000_000_002)
    );
}

#[tokio::test]
async fn an_idle_worker_hears_of_jobs_that_a_busy_one_left_behind() {
    let db = TestDatabase::migrated();
    let idle = Running::start(worker(&db, |_, _| async { Ok::<_, String>(()) }));
    wait_until_listening(&db).await;
    // A worker that was busy has cleared the mark, and a job came.
    wait_until("the mark is set", async || {
        db.number("SELECT count(*) FROM pgqueue_wake WHERE wanted") == 1
    })
    .await;
    db.execute("UPDATE pgqueue_wake SET wanted = false");
    let id = enqueue(&db, job());

    // It stops polling and sets the mark again, but has no slot for the job: here, it knows no such kind.
    let other = pgqueue_core::Worker::builder(db.url())
        .handle_kind("other", |_, _| async { Ok::<_, String>(()) })
        .poll_interval(crate::HOUR);
    let other = Running::start(other);

    db.wait_for_state(id, JobState::Completed).await;
    idle.stop().await;
    other.stop().await;
}

#[tokio::test]
async fn an_output_too_large_to_keep_completes_its_job_without_it() {
    let db = TestDatabase::migrated();
    let handler = |_, _| async { Ok::<_, String>("x".repeat(2 << 20)) };

    let row = crate::run_one(&db, worker(&db, handler), NewJob::new("job", json!({}))).await;

    assert_eq!(
        (row.state, row.output, errors(&db.job(row.id)).len()),
        (JobState::Completed, None, 0)
    );
}
