//! How the queues are doing, as `stats` tells it.

use std::time::Duration;

use chrono::{TimeDelta, Utc};
use diesel::prelude::*;
use pgqueue_core::schema::pgqueue_workers;
use pgqueue_core::stats::{self, KindStats, QueueStats, WorkerRow};
use pgqueue_core::{JobState, NewJob, Outcome, RawJob, admin};
use pgqueue_suite::{TestDatabase, wait_until};
use serde_json::json;

use crate::{HOUR, Running, enqueue, job, worker};

fn queue(db: &TestDatabase, name: &str) -> QueueStats {
    let queues = stats::queues(&mut db.sync()).unwrap();
    queues
        .into_iter()
        .find(|queue| queue.queue == name)
        .unwrap()
}

/// Inserts jobs of queue `default` by SQL.
fn insert(db: &TestDatabase, count: i64, columns: &str, values: &str) {
    db.execute(&format!(
        "INSERT INTO pgqueue_jobs (kind, payload, {columns}) SELECT 'job', '{{}}', {values} FROM generate_series(1, {count})"
    ));
}

#[tokio::test]
async fn a_queue_tells_its_jobs_by_state_and_how_long_the_oldest_has_been_due() {
    let db = TestDatabase::migrated();
    insert(&db, 1, "run_at", "now() - interval '1 hour'");
    insert(&db, 2, "run_at", "now() + interval '1 hour'");
    insert(&db, 4, "state, claimed_by", "'running', 1");
    for (state, count) in [("completed", 5), ("cancelled", 6), ("dead", 7)] {
        insert(
            &db,
            count,
            "state, finished_at",
            &format!("'{state}', now()"),
        );
    }

    let queue = queue(&db, "default");

    let counts = [
        queue.pending,
        queue.running,
        queue.completed,
        queue.cancelled,
        queue.dead,
    ];
    assert_eq!(
        counts.map(|count| count.to_string()),
        ["3", "4", "5", "6", "7"]
    );
    let oldest = queue.oldest_due.unwrap();
    assert!((HOUR..2 * HOUR).contains(&oldest), "{oldest:?}");
    assert_eq!((queue.paused_at, queue.workers), (None, 0));
}

#[tokio::test]
async fn a_queue_without_a_due_job_has_no_oldest() {
    let db = TestDatabase::migrated();
    enqueue(&db, job().delay(HOUR));

    assert_eq!(queue(&db, "default").oldest_due, None);
}

#[tokio::test]
async fn counts_stop_at_ten_thousand_and_say_so() {
    let db = TestDatabase::migrated();
    insert(&db, 10_001, "priority", "5");
    insert(&db, 10_001, "state, claimed_by", "'running', 1");
    for state in ["completed", "cancelled", "dead"] {
        insert(
            &db,
            10_001,
            "state, finished_at",
            &format!("'{state}', now()"),
        );
    }

    let queue = queue(&db, "default");

    let counts = [
        queue.pending,
        queue.running,
        queue.completed,
        queue.cancelled,
        queue.dead,
    ];
    assert_eq!(counts.map(|count| count.to_string()), ["10000+"; 5]);
}

#[tokio::test]
async fn exactly_ten_thousand_is_an_exact_count() {
    let db = TestDatabase::migrated();
    insert(&db, 10_000, "priority", "5");
    insert(&db, 10_000, "state, finished_at", "'dead', now()");

    let queue = queue(&db, "default");

    assert_eq!(queue.pending.to_string(), "10000");
    assert_eq!(queue.dead.to_string(), "10000");
}

#[tokio::test]
async fn what_is_active_and_what_has_ended_make_up_what_the_queues_are_told_of() {
    let db = TestDatabase::migrated();
    insert(&db, 3, "queue", "'waits'");
    insert(&db, 2, "queue, state, claimed_by", "'runs', 'running', 1");
    insert(
        &db,
        4,
        "queue, state, finished_at",
        "'waits', 'dead', now()",
    );
    let ends = "'ended', 'completed', now()";
    insert(&db, 5, "queue, state, finished_at", ends);
    admin::pause("paused").run(&mut db.sync()).unwrap();
    let (mut sync, mut asynchronous) = (db.sync(), db.asynchronous().await);

    let active = stats::active(&mut sync, 10_000).unwrap();
    let ended = stats::ended(&mut sync).unwrap();

    let of = |queue| ended.of(queue).map(|count| count.to_string());
    assert_eq!(ended.queues().collect::<Vec<_>>(), ["ended", "waits"]);
    assert_eq!(of("waits"), ["0", "0", "4"]);
    assert_eq!(of("ended"), ["5", "0", "0"]);
    assert_eq!(of("nowhere"), ["0", "0", "0"]);
    let names: Vec<_> = active.iter().map(|queue| queue.queue.as_str()).collect();
    assert_eq!(names, ["paused", "runs", "waits"]);
    let again = stats::active_async(&mut asynchronous, 10_000).await;
    assert_eq!(names.len(), again.unwrap().len());
    assert_eq!(stats::ended_async(&mut asynchronous).await.unwrap(), ended);
    let mut joined = QueueStats::join(active, &ended);
    let mut told = stats::queues(&mut sync).unwrap();
    for queue in joined.iter_mut().chain(&mut told) {
        queue.oldest_due = None; // which goes on between the two
    }
    assert_eq!(joined, told);
    let names: Vec<_> = told.iter().map(|queue| queue.queue.as_str()).collect();
    assert_eq!(names, ["ended", "paused", "runs", "waits"]);
}

#[tokio::test]
async fn counts_of_what_is_active_stop_where_they_are_told_to() {
    let db = TestDatabase::migrated();
    insert(&db, 6, "priority", "5");
    insert(&db, 5, "run_at", "now() + interval '1 hour'");
    insert(&db, 6, "state, claimed_by", "'running', 1");

    let active = stats::active(&mut db.sync(), 5).unwrap();

    let counts = [active[0].due, active[0].scheduled, active[0].running];
    assert_eq!(counts.map(|count| count.to_string()), ["5+", "5", "5+"]);
    assert_eq!(active[0].pending().to_string(), "10+");
}

#[tokio::test]
async fn a_queue_that_the_count_of_ended_jobs_did_not_come_to_has_none_at_least() {
    let db = TestDatabase::migrated();
    let older = "'old', 'dead', now() - interval '1 day'";
    insert(&db, 1, "queue, state, finished_at", older);
    insert(&db, 10_001, "state, finished_at", "'dead', now()");

    let ended = stats::ended(&mut db.sync()).unwrap();

    let [completed, _, dead] = ended.of("old");
    assert_eq!(
        (completed.to_string(), dead.to_string()),
        ("0".into(), "0+".into())
    );
    assert_eq!(ended.of("default")[2].to_string(), "10000+");
}

#[tokio::test]
async fn pauses_and_workers_are_shown_with_queues_that_have_no_job() {
    let db = TestDatabase::migrated();
    admin::pause("paused").run(&mut db.sync()).unwrap();
    let builder = worker(&db, async |_, _| Ok::<_, String>(())).name("printer");
    let running = Running::start(builder.queue("mail", 3));
    let registered = "SELECT count(*) FROM pgqueue_workers";
    wait_until("the worker is registered", async || {
        db.number(registered) == 1
    })
    .await;

    let mut conn = db.asynchronous().await;
    let queues = stats::queues_async(&mut conn).await.unwrap();
    let workers: Vec<WorkerRow> = pgqueue_workers::table
        .select(WorkerRow::as_select())
        .load(&mut db.sync())
        .unwrap();

    let names: Vec<_> = queues
        .iter()
        .map(|queue| (queue.queue.as_str(), queue.workers))
        .collect();
    assert_eq!(names, [("default", 1), ("mail", 1), ("paused", 0)]);
    assert!(queues[2].paused_at.is_some() && queues[1].paused_at.is_none());
    assert_eq!(workers[0].name, "printer");
    assert_eq!(workers[0].queues, json!({"default": 10, "mail": 3}));
    running.stop().await;
}

#[tokio::test]
async fn a_queue_that_was_resumed_and_has_nothing_else_is_not_shown() {
    let db = TestDatabase::migrated();
    admin::pause("mail").run(&mut db.sync()).unwrap();
    admin::resume("mail").run(&mut db.sync()).unwrap();

    assert_eq!(stats::queues(&mut db.sync()).unwrap(), []);
}

#[tokio::test]
async fn kinds_tell_how_runs_ended_once_the_worker_has_stored_its_counts() {
    let db = TestDatabase::migrated();
    let handler = async |job: RawJob, _| match job.payload.as_str() {
        Some("fail") => Err("no"),
        Some("cancel") => Ok(Outcome::cancel("no")),
        Some("snooze") => Ok(Outcome::snooze(HOUR)),
        Some("dead") => Ok(Outcome::dead("no")),
        _ => Ok(Outcome::done()),
    };
    let new = |what| NewJob::new("job", json!(what)).queue("mail");
    let jobs = ["fail", "cancel", "snooze", "dead", "done", "done", "done"].map(new);
    pgqueue_core::enqueue_all(&mut db.sync(), jobs).unwrap();
    enqueue(&db, new("fail").max_retries(0));
    insert(
        &db,
        1,
        "run_at, queue",
        "now() - interval '10 seconds', 'mail'",
    );

    let builder = worker(&db, handler).queue("mail", 10).retry_base_wait(HOUR);
    builder.build().unwrap().run_until_empty().await.unwrap();

    let (from, to) = (
        Utc::now() - TimeDelta::hours(1),
        Utc::now() + TimeDelta::hours(1),
    );
    let kinds = stats::kinds(&mut db.sync(), from, to).unwrap();
    let mut conn = db.asynchronous().await;
    assert_eq!(
        stats::kinds_async(&mut conn, from, to).await.unwrap(),
        kinds
    );
    assert_eq!(kinds.len(), 1);
    let KindStats {
        queue,
        kind,
        completed,
        failed,
        dead,
        cancelled,
        snoozed,
        run,
        wait,
        ..
    } = &kinds[0];
    assert_eq!((queue.as_str(), kind.as_str()), ("mail", "job"));
    assert_eq!(
        (completed, failed, dead, cancelled, snoozed),
        (&4, &3, &2, &1, &1)
    );
    assert_eq!((run.count(), wait.count()), (9, 9));
    assert!(wait.percentile(1.0).unwrap() >= Duration::from_secs(10));
    assert_eq!(stats::kinds(&mut db.sync(), to, to + HOUR).unwrap(), []);
}

#[tokio::test]
async fn counts_are_stored_while_the_worker_runs() {
    let db = TestDatabase::migrated();
    let running = Running::start(worker(&db, async |_, _| Ok::<_, String>(())));
    let id = enqueue(&db, job());
    db.wait_for_state(id, JobState::Completed).await;

    let stored = "SELECT coalesce(sum(completed), 0) FROM pgqueue_stats";
    wait_until("the count is stored", async || db.number(stored) == 1).await;

    running.stop().await;
    assert_eq!(
        db.number(stored),
        1,
        "absolute values: storing them again changes nothing"
    );
}

#[tokio::test]
async fn retention_removes_completed_and_cancelled_jobs_and_no_dead_ones() {
    let db = TestDatabase::migrated();
    for state in ["completed", "cancelled", "dead"] {
        insert(
            &db,
            1200,
            "state, finished_at",
            &format!("'{state}', now() - interval '25 hours'"),
        );
        insert(
            &db,
            1,
            "state, finished_at",
            &format!("'{state}', now() - interval '23 hours'"),
        );
    }

    let running = Running::start(worker(&db, async |_, _| Ok::<_, String>(())));

    db.wait_for_count(JobState::Completed, 1).await;
    db.wait_for_count(JobState::Cancelled, 1).await;
    assert_eq!(db.count(JobState::Dead), 1201);
    running.stop().await;
}
