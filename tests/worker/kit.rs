//! The testing kit, as the tests of a host application use it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chrono::Utc;
use diesel::prelude::*;
use diesel_async::AsyncConnection;
use pgqueue_core::{Context, Job, JobState, Outcome, Worker, testing};
use pgqueue_suite::TestDatabase;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::{HOUR, job};

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Receipt {
    order_id: i64,
}

impl Job for Receipt {
    const KIND: &'static str = "receipt";
    const QUEUE: &'static str = "mail";
}

/// Sends receipts of even orders into a list; others fail, 13 panics, 0 is snoozed.
fn printer(printed: &Arc<Mutex<Vec<i64>>>) -> Worker {
    let printed = Arc::clone(printed);
    let handler = move |job: Receipt, ctx: Context| {
        let printed = Arc::clone(&printed);
        async move {
            match job.order_id {
                13 => panic!("unlucky"),
                0 => return Ok(Outcome::snooze(HOUR)),
                odd if odd % 2 == 1 => return Err(format!("odd, attempt {}", ctx.attempt())),
                _ => {}
            }
            tokio::task::yield_now().await;
            printed.lock().unwrap().push(job.order_id);
            Ok(Outcome::done())
        }
    };
    // Nothing ever connects to it.
    let worker = Worker::builder("postgres://localhost:1/nowhere").handle(handler);
    worker.build().unwrap()
}

#[test]
fn an_assertion_passes_when_a_pending_job_fits() {
    let db = TestDatabase::migrated();
    let mut conn = db.sync();
    conn.begin_test_transaction().unwrap();
    Receipt { order_id: 1 }.enqueue(&mut conn).unwrap();
    Receipt { order_id: 2 }.enqueue(&mut conn).unwrap();

    testing::assert_enqueued(&mut conn, |job: &Receipt| job.order_id == 2);

    let jobs: Vec<Receipt> = testing::enqueued(&mut conn).unwrap();
    assert_eq!(jobs, [Receipt { order_id: 1 }, Receipt { order_id: 2 }]);
}

#[test]
fn a_failed_assertion_lists_what_is_pending() {
    let db = TestDatabase::migrated();
    let mut conn = db.sync();
    Receipt { order_id: 7 }.enqueue(&mut conn).unwrap();

    let assertion = || testing::assert_enqueued(&mut conn, |job: &Receipt| job.order_id == 2);
    let panic = catch_unwind(AssertUnwindSafe(assertion)).unwrap_err();

    let message = panic.downcast::<String>().unwrap();
    for word in ["\"receipt\"", "order_id", "7"] {
        assert!(message.contains(word), "{message}");
    }
}

#[tokio::test]
async fn assertions_work_on_an_async_connection() {
    let db = TestDatabase::migrated();
    let mut conn = db.asynchronous().await;
    conn.begin_test_transaction().await.unwrap();
    Receipt { order_id: 1 }
        .enqueue_async(&mut conn)
        .await
        .unwrap();

    testing::assert_enqueued_async(&mut conn, |job: &Receipt| job.order_id == 1).await;

    let jobs: Vec<Receipt> = testing::enqueued_async(&mut conn).await.unwrap();
    assert_eq!(jobs.len(), 1);
}

#[tokio::test]
#[should_panic(expected = "no pending job of kind \"receipt\" fits; pending are: []")]
async fn a_failed_async_assertion_panics() {
    let db = TestDatabase::migrated();
    let mut conn = db.asynchronous().await;

    testing::assert_enqueued_async(&mut conn, |_: &Receipt| true).await;
}

#[test]
fn a_drain_runs_what_is_due_inside_the_tests_own_transaction() {
    let db = TestDatabase::migrated();
    let mut conn = db.sync();
    conn.begin_test_transaction().unwrap();
    let printed = Arc::default();
    let worker = printer(&printed);
    for order_id in [2, 4, 0, 5, 13] {
        Receipt { order_id }.enqueue(&mut conn).unwrap();
    }
    Receipt { order_id: 6 }
        .to_new()
        .delay(HOUR)
        .enqueue(&mut conn)
        .unwrap();

    let first = testing::drain(&worker, &mut conn).unwrap();
    Receipt { order_id: 8 }.enqueue(&mut conn).unwrap();
    let second = testing::drain(&worker, &mut conn).unwrap();

    assert_eq!((first.completed, first.failed, first.other), (2, 2, 1));
    assert_eq!(first.errors, ["odd, attempt 1", "panicked: unlucky"]);
    assert_eq!((second.completed, second.failed, second.other), (1, 0, 0));
    assert_eq!(*printed.lock().unwrap(), [2, 4, 8]);
    drop(conn);
    assert_eq!(db.jobs(), [], "rolled back with the test");
}

/// A worker that calls one function on its jobs of kind `job`; nothing ever connects to it.
fn worker_of(handler: fn() -> Outcome) -> Worker {
    let handler = move |_, ctx: Context| async move {
        ctx.progress(json!({"percent": 50})).await?;
        Ok::<_, pgqueue_core::Error>(handler())
    };
    Worker::builder("postgres://localhost:1/nowhere")
        .handle_kind("job", handler)
        .build()
        .unwrap()
}

#[tokio::test]
async fn a_drain_runs_what_is_due_by_the_clock_and_jobs_that_lost_a_process() {
    let db = TestDatabase::migrated();
    let done = worker_of(Outcome::done);
    let enqueue_all = "INSERT INTO pgqueue_jobs (kind, payload, lost, run_at) VALUES
        ('job', '{}', 1, now()), ('job', '{}', 2, now()), ('job', '{}', 0, clock_timestamp()), ('job', '{}', 1, clock_timestamp())";

    let mut sync = db.sync();
    sync.begin_test_transaction().unwrap();
    diesel::sql_query(enqueue_all).execute(&mut sync).unwrap();
    job().delay(Duration::ZERO).enqueue(&mut sync).unwrap();
    job().run_at(Utc::now()).enqueue(&mut sync).unwrap();
    let first = testing::drain(&done, &mut sync).unwrap();

    let mut conn = db.asynchronous().await;
    conn.begin_test_transaction().await.unwrap();
    let insert = diesel::sql_query(enqueue_all);
    diesel_async::RunQueryDsl::execute(insert, &mut conn)
        .await
        .unwrap();
    let second = testing::drain_async(&done, &mut conn).await.unwrap();

    assert_eq!((first.completed, first.errors), (6, vec![]));
    assert_eq!((second.completed, second.errors), (4, vec![]));
}

#[test]
fn a_drain_runs_no_job_twice_and_leaves_it_due_when_it_should_be() {
    let endings: [fn() -> Outcome; 3] = [
        || Outcome::snooze(Duration::ZERO),
        || Outcome::retry_after(Duration::ZERO, "not yet"),
        || Outcome::snooze(HOUR),
    ];
    for (position, ending) in endings.into_iter().enumerate() {
        for in_transaction in [true, false] {
            let db = TestDatabase::migrated();
            let mut conn = db.sync();
            if in_transaction {
                conn.begin_test_transaction().unwrap();
            }
            job().enqueue(&mut conn).unwrap();
            let due = || {
                diesel::dsl::sql::<diesel::sql_types::Bool>(
                    "SELECT run_at <= clock_timestamp() FROM pgqueue_jobs",
                )
            };

            let first = testing::drain(&worker_of(ending), &mut conn).unwrap();
            let is_due: bool = due().get_result(&mut conn).unwrap();
            let second = testing::drain(&worker_of(ending), &mut conn).unwrap();

            let again = usize::from(position < 2);
            assert_eq!(first.failed + first.other, 1);
            assert_eq!(is_due, position < 2);
            assert_eq!(second.failed + second.other, again);
        }
    }
}

#[tokio::test]
async fn a_drain_on_an_async_connection_does_the_same() {
    let db = TestDatabase::migrated();
    let mut conn = db.asynchronous().await;
    conn.begin_test_transaction().await.unwrap();
    let printed = Arc::default();
    let worker = printer(&printed);
    for order_id in [2, 5] {
        Receipt { order_id }.enqueue_async(&mut conn).await.unwrap();
    }

    let drained = testing::drain_async(&worker, &mut conn).await.unwrap();

    assert_eq!((drained.completed, drained.failed), (1, 1));
    assert_eq!(*printed.lock().unwrap(), [2]);
    drop(conn);
    assert_eq!(db.jobs(), []);
}

#[tokio::test]
async fn a_drain_may_be_called_inside_a_runtime_and_leaves_real_rows_behind() {
    let db = TestDatabase::migrated();
    let worker = printer(&Arc::default());
    let mut conn = db.sync();
    let even = Receipt { order_id: 2 }.enqueue(&mut conn).unwrap().id;
    let odd = Receipt { order_id: 3 }.enqueue(&mut conn).unwrap().id;

    testing::drain(&worker, &mut conn).unwrap();

    assert_eq!(db.job(even).state, JobState::Completed);
    let row = db.job(odd);
    assert_eq!((row.state, row.attempt), (JobState::Pending, 1));
    assert!(
        row.run_at > row.started_at.unwrap(),
        "it waits for its retry"
    );
    assert_eq!(db.number("SELECT count(*) FROM pgqueue_workers"), 0);
}

#[test]
fn a_drain_gives_up_what_it_cannot_read_and_goes_on() {
    let db = TestDatabase::migrated();
    let mut conn = db.sync();
    let wrong = pgqueue_core::NewJob::new("receipt", json!({"order_id": "x"})).queue("mail");
    let wrong = wrong.enqueue(&mut conn).unwrap().id;
    Receipt { order_id: 2 }.enqueue(&mut conn).unwrap();

    let drained = testing::drain(&printer(&Arc::default()), &mut conn).unwrap();

    assert_eq!((drained.completed, drained.failed), (1, 1));
    assert_eq!(db.job(wrong).state, JobState::Dead);
}

#[test]
fn a_drain_without_our_tables_names_the_migration() {
    let db = TestDatabase::empty();

    let error = testing::drain(&printer(&Arc::default()), &mut db.sync()).unwrap_err();

    assert_eq!(error.kind(), pgqueue_core::ErrorKind::Migration);
}
