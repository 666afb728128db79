//! A database whose clock is a year before or behind that of the machine that enqueues and works.

use std::time::Duration;

use chrono::{TimeDelta, Utc};
use pgqueue_core::{Context, JobState, RawJob};
use pgqueue_suite::TestDatabase;
use serde_json::json;

use crate::{HOUR, Running, enqueue, errors, job, wait_for_failures, worker};

/// Makes a database in which `now()` and its like are off by so many days for all of pgqueue's tables, functions and statements.
fn database_off_by(days: i64) -> TestDatabase {
    let db = TestDatabase::empty();
    db.execute("CREATE SCHEMA elsewhen");
    for (clock, volatility) in [
        ("now", "STABLE"),
        ("statement_timestamp", "STABLE"),
        ("clock_timestamp", "VOLATILE"),
    ] {
        db.execute(&format!(
            "CREATE FUNCTION elsewhen.{clock}() RETURNS timestamptz LANGUAGE sql {volatility}
             AS 'SELECT pg_catalog.{clock}() + interval ''{days} days'''"
        ));
    }
    db.set_default("search_path = elsewhen, pg_catalog");
    pgqueue_core::migrate(&mut db.sync()).unwrap();
    db.execute("ALTER FUNCTION pgqueue_wake_queue SET search_path = elsewhen, pg_catalog");
    db
}

async fn behave(job: RawJob, ctx: Context) -> Result<(), String> {
    match job.payload["fails"].as_bool() {
        Some(true) if ctx.attempt() == 1 => Err("no".to_owned()),
        _ => Ok(()),
    }
}

/// Enqueues a job that is due at once, one that is delayed, one that fails once, and one whose process has died; runs them all, and
/// looks at the times in their rows.
async fn assert_all_run_on_time(days: i64) {
    let db = database_off_by(days);
    let off = TimeDelta::days(days);
    let second = TimeDelta::seconds(1);
    let lost = enqueue(&db, job());
    db.execute(
        "UPDATE pgqueue_jobs SET state = 'running', attempt = 1, fencing_token = 1, claimed_by = 4711, claim_batch = 1, started_at = now()",
    );
    let running = Running::start(
        worker(&db, behave)
            .lease(Duration::from_secs(1))
            .lost_base_wait(Duration::ZERO),
    );

    let before = Utc::now();
    let at_once = enqueue(&db, job());
    let delayed = enqueue(&db, job().delay(Duration::from_secs(1)));
    let failing = pgqueue_core::NewJob::new("job", json!({"fails": true}));
    let failing = enqueue(&db, failing);
    let far = enqueue(&db, job().delay(HOUR));
    db.wait_for_count(JobState::Completed, 4).await;
    running.stop().await;

    for id in [lost, at_once, delayed, failing] {
        let row = db.job(id);
        let finished = row.finished_at.unwrap();
        let now = Utc::now() + off;
        assert!(row.run_at <= finished, "{row:?}");
        assert!((before + off..=now).contains(&finished), "{row:?}");
    }
    let row = db.job(delayed);
    let delay = row.run_at - row.created_at;
    assert!((second..TimeDelta::minutes(2)).contains(&delay), "{row:?}");
    assert!(row.started_at.unwrap() >= row.run_at, "{row:?}");
    let row = wait_for_failures(&db, failing, 1).await;
    let failed_at = errors(&row)[0].at.unwrap();
    assert!(row.run_at - failed_at >= second, "{row:?}");
    assert_eq!(errors(&db.job(lost))[0].kind, "lost");
    assert_eq!(db.job(far).state, JobState::Pending);
}

#[tokio::test]
async fn jobs_run_on_time_by_the_clock_of_a_database_that_is_a_year_ahead() {
    assert_all_run_on_time(365).await;
}

#[tokio::test]
async fn jobs_run_on_time_by_the_clock_of_a_database_that_is_a_year_behind() {
    assert_all_run_on_time(-365).await;
}
