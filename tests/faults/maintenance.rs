//! What retention lets go, what it keeps, and how old statistics are folded.

use super::*;
use pgqueue_core::{JobState, WorkerBuilder};

/// Inserts finished jobs by SQL, all of one age.
fn insert_finished(db: &TestDatabase, state: &str, age: &str, count: i64) {
    db.execute(&format!(
        "INSERT INTO pgqueue_jobs (kind, payload, state, finished_at)
         SELECT 'act', '\"Return\"', '{state}', now() - interval '{age}' FROM generate_series(1, {count})"
    ));
}

fn start(worker: WorkerBuilder) -> Running {
    let worker = worker.handle(async |_: Act, _| Ok::<_, String>(()));
    run(worker.build().unwrap())
}

#[tokio::test]
async fn completed_and_cancelled_jobs_past_their_retention_are_deleted_in_batches_and_dead_ones_kept()
 {
    let db = TestDatabase::migrated();
    for state in ["completed", "cancelled", "dead"] {
        insert_finished(&db, state, "2 days", 2500);
        insert_finished(&db, state, "2 hours", 10);
    }
    db.execute(
        "CREATE TABLE batches (rows bigint);
         CREATE FUNCTION note_batch() RETURNS trigger LANGUAGE plpgsql AS
             $$ BEGIN INSERT INTO batches SELECT count(*) FROM gone; RETURN NULL; END $$;
         CREATE TRIGGER note_batch AFTER DELETE ON pgqueue_jobs
             REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION note_batch()",
    );

    let _worker = start(builder(&db));
    db.wait_for_count(JobState::Completed, 10).await;
    db.wait_for_count(JobState::Cancelled, 10).await;

    assert_eq!(db.count(JobState::Dead), 2510);
    assert_eq!(db.number("SELECT max(rows) FROM batches"), 1000);
    assert_eq!(db.number("SELECT sum(rows) FROM batches"), 5000);
}

#[tokio::test]
async fn each_retention_is_a_setting_of_its_own() {
    let db = TestDatabase::migrated();
    for state in ["completed", "cancelled"] {
        insert_finished(&db, state, "2 hours", 5);
    }

    let hour = Duration::from_secs(3600);
    let worker = builder(&db).completed_retention(3 * hour);
    let _worker = start(worker.cancelled_retention(hour));
    db.wait_for_count(JobState::Cancelled, 0).await;

    assert_eq!(db.count(JobState::Completed), 5);
}

#[tokio::test]
async fn minutes_of_statistics_are_folded_to_hours_after_two_days_and_deleted_after_thirty() {
    let db = TestDatabase::migrated();
    // Two workers, thirty minutes each, of one hour three days ago; the same of today; and an hour beyond retention.
    db.execute(
        "INSERT INTO pgqueue_stats (bucket, worker_id, completed, lease_lost, run_ms_sum, queue, kind, run_ms, wait_ms)
         SELECT start + minute * interval '1 minute', worker, 2, 1, 3, 'default', 'act', bars, bars
         FROM (VALUES
                 (date_trunc('hour', now() - interval '3 days')),
                 (date_trunc('hour', now() - interval '1 day'))
             ) AS hours(start),
             generate_series(1, 2) AS worker, generate_series(1, 30) AS minute,
             LATERAL (SELECT array_agg((bar = 2)::int::bigint ORDER BY bar) AS bars FROM generate_series(1, 24) AS bar) AS b;
         INSERT INTO pgqueue_stats (bucket, worker_id, completed, queue, kind, run_ms, wait_ms)
         VALUES (date_trunc('hour', now() - interval '31 days'), 0, 7, 'default', 'act', '{}', '{}')",
    );

    let _worker = start(builder(&db));
    let old = "SELECT count(*) FROM pgqueue_stats WHERE bucket < now() - interval '2 days'";
    wait_until("one old row is left", async || db.number(old) == 1).await;

    let hour = |column: &str| {
        db.number(&format!(
            "SELECT sum({column}) FROM pgqueue_stats WHERE worker_id = 0"
        ))
    };
    assert_eq!(
        (hour("completed"), hour("lease_lost"), hour("run_ms_sum")),
        (120, 60, 180)
    );
    assert_eq!(
        (hour("run_ms[2]"), hour("wait_ms[2]"), hour("run_ms[1]")),
        (60, 60, 0)
    );
    assert_eq!(
        db.number("SELECT count(*) FROM pgqueue_stats WHERE worker_id > 0"),
        60,
        "younger minutes stay"
    );
}
