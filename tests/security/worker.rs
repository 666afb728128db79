//! A worker's whole life with the worker's role, and nothing but what its own tables must hold afterwards.

use std::time::Duration;

use super::*;
use diesel_async::AsyncConnection;
use pgqueue_core::{BoxError, Context, JobState, NewJob, Outcome, RawJob, Worker, admin};
use pgqueue_suite::wait_until;
use serde_json::json;

/// Short, but longer than a busy machine keeps a thread waiting.
const LEASE: Duration = Duration::from_millis(1800);

fn enqueue(db: &TestDatabase, payload: &str, max_retries: i32) -> i64 {
    let job = NewJob::new("job", json!(payload)).max_retries(max_retries);
    job.enqueue(&mut db.sync()).unwrap().id
}

async fn handle(job: RawJob, ctx: Context) -> Result<Outcome, BoxError> {
    match job.payload.as_str() {
        Some("fail") => Err("no such address".into()),
        Some("output") => Ok(Outcome::output("sent")),
        Some("wait") => {
            ctx.cancellation().cancelled().await;
            Ok(Outcome::done())
        }
        Some("in a transaction") => {
            ctx.progress("half").await?;
            let mut conn = ctx.connection().await?;
            let completed: Result<(), diesel::result::Error> = conn
                .transaction(async |conn| {
                    NewJob::new("job", json!("output"))
                        .enqueue_async(conn)
                        .await?;
                    ctx.complete_in_async(conn).await
                })
                .await;
            completed?;
            Ok(Outcome::done())
        }
        _ => Ok(Outcome::snooze(Duration::from_secs(3600))),
    }
}

/// Leaves behind what a worker has to tidy up: a dead worker with its job, and what is past its retention.
fn leave_behind(db: &TestDatabase) -> i64 {
    db.execute(
        "INSERT INTO pgqueue_workers (name, host, pid, version, queues, kinds, expires_at)
         VALUES ('gone', 'here', 1, '0', '{}', '{}', now() - interval '1 hour');
         INSERT INTO pgqueue_jobs (kind, payload, state, finished_at)
         SELECT 'job', '\"old\"', state, now() - interval '90 days' FROM unnest('{completed,cancelled}'::text[]) AS s(state);
         INSERT INTO pgqueue_trash (operation, id, kept_since, job) VALUES (1, 1, now() - interval '9 days', '{}');
         INSERT INTO pgqueue_stats (bucket, worker_id, completed, queue, kind, run_ms, wait_ms)
         SELECT date_trunc('hour', now() - age), 7, 1, 'default', 'job', bars, bars
         FROM unnest('{3 days,90 days}'::interval[]) AS a(age),
             LATERAL (SELECT array_agg(bar) AS bars FROM generate_series(1::bigint, 24) AS bar) AS b;
         INSERT INTO pgqueue_jobs (kind, payload, state, claimed_by, attempt, fencing_token, started_at)
         SELECT 'job', '\"output\"', 'running', w.id, 1, 1, now() FROM pgqueue_workers AS w",
    );
    db.number("SELECT max(id) FROM pgqueue_jobs")
}

#[tokio::test]
async fn a_worker_lives_its_whole_life_with_the_workers_role() {
    pgqueue_suite::logs();
    let db = TestDatabase::migrated();
    let roles = Roles::of(&db, "worker");
    let stranded = leave_behind(&db);
    let worker = Worker::builder(roles.url(&db, "shop_worker"))
        .handle_kind("job", handle)
        .lease(LEASE)
        .lost_base_wait(Duration::ZERO)
        .retry_base_wait(Duration::from_millis(50));
    let worker = worker.build().unwrap();
    let handle = worker.handle();
    let task = tokio::spawn(worker.run(std::future::pending::<()>()));

    let output = enqueue(&db, "output", 3);
    let fails = enqueue(&db, "fail", 1);
    let snoozes = enqueue(&db, "snooze", 3);
    let waits = enqueue(&db, "wait", 3);
    let in_transaction = enqueue(&db, "in a transaction", 3);
    db.wait_for_state(waits, JobState::Running).await;
    admin::cancel(waits).run(&mut db.sync()).unwrap();

    db.wait_for_state(output, JobState::Completed).await;
    let dead = db.wait_for_state(fails, JobState::Dead).await;
    db.wait_for_state(waits, JobState::Cancelled).await;
    let completed = db.wait_for_state(in_transaction, JobState::Completed).await;
    let rescued = db.wait_for_state(stranded, JobState::Completed).await;
    db.wait_for_count(JobState::Completed, 4).await; // the fourth is what a handler enqueued
    assert_eq!(dead.errors.len(), 2);
    assert_eq!(completed.progress, Some(json!("half")));
    assert_eq!((rescued.lost, rescued.attempt), (1, 2));
    assert!(db.job(snoozes).run_at > chrono::Utc::now());
    assert_eq!(
        db.number("SELECT count(cause) FROM pgqueue_jobs WHERE state = 'dead'"),
        1
    );
    for (what, count) in [
        ("pgqueue_trash", 0),
        ("pgqueue_jobs WHERE payload = '\"old\"'", 0),
        ("pgqueue_workers WHERE name = 'gone'", 0),
        ("pgqueue_stats WHERE worker_id = 7", 0),
        ("pgqueue_stats WHERE worker_id = 0", 1),
        ("pgqueue_wake", 1),
    ] {
        let counted = format!("SELECT count(*) FROM {what}");
        wait_until(&format!("{what} has {count}"), async || {
            db.number(&counted) == count
        })
        .await;
    }

    handle.stop();
    task.await.unwrap().unwrap();
    let sum = "SELECT sum(completed) FROM pgqueue_stats WHERE worker_id <> 0";
    assert_eq!(db.number(sum), 4);
    assert_eq!(db.number("SELECT count(*) FROM pgqueue_workers"), 0);
    roles.drop(&db);
}
