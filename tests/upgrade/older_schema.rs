//! This version on a schema of which only the first migration was applied: it says so, and what to do.

use std::time::Duration;

use pgqueue_core::{Error, ErrorKind, JobState, Worker, enqueue_all, migrate};
use pgqueue_dashboard::DashboardBuilder;
use pgqueue_suite::TestDatabase;
use pgqueue_suite::site::Site;

use crate::job;

const FIRST: &str = include_str!("../../migrations/20261122000001_pgqueue_jobs/up.sql");
/// The migration that is missing.
const MISSING: &str = "20261124000001";

fn old() -> TestDatabase {
    let db = TestDatabase::empty();
    db.execute(FIRST);
    db
}

fn worker(db: &TestDatabase) -> Worker {
    let handled = async |_, _| Ok::<_, String>(());
    let builder = Worker::builder(db.url()).handle_kind("job", handled);
    builder.build().unwrap()
}

fn assert_names_the_migration_and_the_call(error: &Error) {
    let message = error.to_string();
    assert_eq!(error.kind(), ErrorKind::Migration, "{message}");
    for word in [MISSING, "pgqueue_core::migrate(&mut conn)", "migrate_async"] {
        assert!(message.contains(word), "{word}: {message}");
    }
}

#[tokio::test]
async fn a_worker_refuses_to_start_and_takes_no_job() {
    let db = old();
    let id = job().enqueue(&mut db.sync()).unwrap().id;

    let running = worker(&db).run(std::future::pending::<()>());
    let running = tokio::time::timeout(Duration::from_secs(60), running)
        .await
        .expect("it ends by itself");
    let emptying = worker(&db).run_until_empty().await;

    for outcome in [running, emptying] {
        assert_names_the_migration_and_the_call(&outcome.unwrap_err());
    }
    let state = format!("SELECT count(*) FROM pgqueue_jobs WHERE id = {id} AND state = 'pending'");
    assert_eq!(db.number(&state), 1);
    assert_eq!(db.number("SELECT count(*) FROM pgqueue_workers"), 0);
}

#[tokio::test]
async fn producers_may_be_the_first_that_are_upgraded() {
    let db = old();

    let enqueued = enqueue_all(&mut db.sync(), [job(), job().unique_key("a"), job()]).unwrap();
    job()
        .enqueue_async(&mut db.asynchronous().await)
        .await
        .unwrap();
    migrate(&mut db.sync()).unwrap();
    worker(&db).run_until_empty().await.unwrap();

    assert_eq!(enqueued.len(), 3);
    assert_eq!(db.count(JobState::Completed), 4);
}

#[test]
fn what_an_operator_asks_of_a_missing_column_is_explained() {
    let db = old();
    let filter = pgqueue_core::admin::Filter::new().cause(1);

    let error = pgqueue_core::admin::find(filter)
        .run(&mut db.sync())
        .unwrap_err();

    assert_names_the_migration_and_the_call(&error);
}

#[actix_web::test]
async fn the_dashboard_says_that_the_tables_are_old_and_what_to_run() {
    let site = Site::of(old(), DashboardBuilder::insecure_open_to_everybody).await;

    for path in ["/dead", "/api/v1/causes"] {
        let answer = site.get(path).await;
        assert_eq!(answer.status, 503, "{path}: {}", answer.text);
        assert!(
            answer.text.contains("pgqueue-dashboard migrate"),
            "{path}: {}",
            answer.text
        );
    }
}
