//! The claim cursor at saturation: jobs that appear behind it wait two seconds longer at most, at every priority.

use super::*;
use pgqueue_core::WorkerBuilder;

/// What the cursor may cost.
const CURSOR: Duration = Duration::from_secs(2);

/// Inserts a backlog into each of ten queues, queue n holding jobs of priority n, all due since an hour ago.
fn insert_backlogs(db: &TestDatabase, each: i64) {
    db.execute(&format!(
        "INSERT INTO pgqueue_jobs (queue, priority, kind, payload, run_at)
         SELECT 'queue' || n, n, 'act', '\"Return\"', now() - interval '1 hour' + n * interval '1 second'
         FROM generate_series(0, 9) AS n, generate_series(1, {each})"
    ));
}

/// Inserts one job into each queue, before everything that is due there.
fn insert_behind(db: &TestDatabase, priority: &str) {
    db.execute(&format!(
        "INSERT INTO pgqueue_jobs (queue, priority, kind, payload, run_at, metadata)
         SELECT 'queue' || n, {priority}, 'act', '\"Return\"', now() - interval '2 hours', '{{\"late\": true}}'
         FROM generate_series(0, 9) AS n"
    ));
}

/// Starts a worker with one slot for each of ten queues, which the backlogs keep taken.
fn start(db: &TestDatabase) -> Running {
    let act = async |_: Act, _| {
        tokio::time::sleep(Duration::from_millis(10)).await;
        Ok::<_, String>(())
    };
    let lane = |worker: WorkerBuilder, n| worker.queue(format!("queue{n}"), 1);
    let worker = (0..10).fold(builder(db).handle(act), lane);
    run(worker.build().unwrap())
}

async fn jobs_behind_the_cursor_are_not_held_up(priority: &str) {
    let db = TestDatabase::migrated();
    insert_backlogs(&db, 1000);
    let _worker = start(&db);
    let moving = "SELECT count(*) FROM (
        SELECT queue FROM pgqueue_jobs WHERE state = 'completed' GROUP BY queue HAVING count(*) > 10
    ) AS moving";
    wait_until("every cursor is on its way", async || {
        db.number(moving) == 10
    })
    .await;

    for round in 1..=5 {
        insert_behind(&db, priority);
        let done = "SELECT count(*) FROM pgqueue_jobs WHERE metadata IS NOT NULL AND started_at IS NOT NULL";
        wait_until("the late jobs have started", async || {
            db.number(done) == round * 10
        })
        .await;
    }

    let backlog = "SELECT count(DISTINCT queue) FROM pgqueue_jobs WHERE state = 'pending'";
    assert_eq!(db.number(backlog), 10, "the backlogs lasted");
    let longest = "SELECT max(extract(epoch FROM started_at - created_at) * 1000) FROM pgqueue_jobs WHERE metadata IS NOT NULL";
    let longest = Duration::from_millis(db.number(longest).try_into().unwrap());
    assert!(longest <= CURSOR + NOISE, "one waited {longest:?}");
}

#[tokio::test]
async fn a_job_behind_the_cursor_of_its_own_priority_is_not_held_up() {
    jobs_behind_the_cursor_are_not_held_up("n").await;
}

#[tokio::test]
async fn a_more_urgent_job_is_not_held_up_by_the_cursor_of_the_others() {
    jobs_behind_the_cursor_are_not_held_up("0").await;
}
