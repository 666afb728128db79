//! Actions on jobs: no statement of one looks at more than 5,000 jobs, and all of them look at each job once.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use diesel::connection::InstrumentationEvent;
use diesel::prelude::*;
use diesel::sql_types::BigInt;
use pgqueue_core::JobState;
use pgqueue_core::admin::{self, Action, Filter};
use pgqueue_suite::TestDatabase;

use super::load::{empty_and_analysed, load};

/// What an action cost, undone.
#[derive(Debug)]
struct Bill {
    changed: u64,
    statements: i64,
    /// Jobs fetched by index.
    fetched: i64,
    sequential_scans: i64,
}

pub(super) fn count(conn: &mut PgConnection, column: &str) -> i64 {
    let count = format!(
        "(SELECT {column} FROM pg_stat_xact_user_tables WHERE relid = 'pgqueue_jobs'::regclass)"
    );
    let query = diesel::select(diesel::dsl::sql::<BigInt>(&count));
    query.get_result(conn).unwrap()
}

fn meter(db: &TestDatabase, action: Action) -> Bill {
    let mut conn = db.sync();
    conn.begin_test_transaction().unwrap();
    let before = (
        count(&mut conn, "seq_scan"),
        count(&mut conn, "idx_tup_fetch"),
    );
    let sent = Arc::new(AtomicI64::new(0));
    let counted = Arc::clone(&sent);
    conn.set_instrumentation(move |event: InstrumentationEvent<'_>| {
        if let InstrumentationEvent::StartQuery { .. } = event {
            counted.fetch_add(1, Ordering::SeqCst);
        }
    });
    let done = action.run(&mut conn).unwrap();
    let statements = sent.load(Ordering::SeqCst);
    Bill {
        changed: done.changed + done.requested,
        statements,
        sequential_scans: count(&mut conn, "seq_scan") - before.0,
        fetched: count(&mut conn, "idx_tup_fetch") - before.1,
    }
}

/// An action, how many jobs it changes, and the most statements and fetches that it may cost.
type Case = (&'static str, Action, u64, i64, i64);

fn cases() -> Vec<Case> {
    let nobody = || Filter::new().kind("nobody");
    let rare = || Filter::new().kind("rare");
    let finished_before = chrono::Utc::now() - chrono::TimeDelta::hours(11);
    vec![
        // 300,100 pending jobs in 61 statements, and the 10,000 running ones twice.
        ("cancel nothing", admin::cancel(nobody()), 0, 63, 321_000),
        (
            "cancel what is rare",
            admin::cancel(rare()),
            300,
            63,
            323_000,
        ),
        (
            "cancel in no queue",
            admin::cancel(nobody().queue("other")),
            0,
            3,
            21_000,
        ),
        (
            "cancel running",
            admin::cancel(nobody().state(JobState::Running)),
            0,
            1,
            10_500,
        ),
        ("hurry nothing", admin::run_now(nobody()), 0, 61, 301_000),
        ("cancel by id", admin::cancel(vec![1, 2, 3]), 3, 1, 50),
        // 15,000 dead ones, few enough that the planner may sort those left each time; and of 500,000 completed ones the 72,000 of the first hour.
        (
            "purge no error",
            admin::purge(Filter::new().error_contains("503")),
            0,
            4,
            31_000,
        ),
        // By the index of causes, not by that of all the dead; and each job that matches is looked at once.
        (
            "requeue what died of a rare cause",
            admin::requeue(Filter::new().cause(99)),
            75,
            1,
            800,
        ),
        (
            "purge what died of a cause",
            admin::purge(Filter::new().cause(1)),
            4975,
            10,
            21_000,
        ),
        (
            "purge old ones",
            admin::purge(
                nobody()
                    .state(JobState::Completed)
                    .finished_before(finished_before),
            ),
            0,
            16,
            75_000,
        ),
    ]
}

/// Tells which actions did something else than they should, or are `dear`.
fn complaints(db: &TestDatabase, dear: impl Fn(&Bill, i64, i64) -> bool) -> Vec<String> {
    let mut complaints = Vec::new();
    for (name, action, changed, statements, fetched) in cases() {
        let bill = meter(db, action);
        if bill.changed != changed || dear(&bill, statements, fetched) {
            complaints.push(format!("{name}: {bill:?}"));
        }
    }
    complaints
}

#[tokio::test]
async fn an_action_looks_at_each_job_once_and_at_no_job_that_it_is_not_for() {
    let (db, loader) = empty_and_analysed().await;
    load(&loader).await;
    let rare = "UPDATE pgqueue_jobs SET kind = 'rare' WHERE id <= 300000 AND id % 1000 = 0;
         UPDATE pgqueue_jobs SET cause = 99 WHERE id BETWEEN 1000001 AND 1000100 AND state = 'dead'";
    loader.batch_execute(rare).await.unwrap();

    // On statistics of an empty table each statement sorts all jobs of a state, which only the host could forbid; autovacuum
    // corrects them within a minute.
    let stale = complaints(&db, |bill, _, _| bill.sequential_scans > 0);
    loader.batch_execute("ANALYZE pgqueue_jobs").await.unwrap();
    let fresh = complaints(&db, |bill, statements, fetched| {
        bill.sequential_scans > 0 || bill.statements > statements || bill.fetched > fetched
    });

    assert!(stale.is_empty(), "planned on stale statistics: {stale:#?}");
    assert!(fresh.is_empty(), "planned on fresh statistics: {fresh:#?}");
}
