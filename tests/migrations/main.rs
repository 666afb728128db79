//! Migrating: from many processes at once, beside Diesel's own harness, back and forth, on every runtime, in any schema.

#![expect(
    clippy::unwrap_used,
    reason = "a helper that unwraps fails with the line to look at, as a test does"
)]

mod at_once;
mod back_and_forth;
mod lock;
mod runtimes;
mod schemas;
mod server;

use std::time::Duration;

use pgqueue_core::{Error, ErrorKind, JobState, NewJob, Worker};
use pgqueue_suite::TestDatabase;
use serde_json::json;

const VERSION: &str = "20261124000001";
const UP: &str = concat!(
    include_str!("../../migrations/20261122000001_pgqueue_jobs/up.sql"),
    include_str!("../../migrations/20261124000001_pgqueue_dashboard/up.sql"),
);
/// Newest first.
const DOWN: &str = concat!(
    include_str!("../../migrations/20261124000001_pgqueue_dashboard/down.sql"),
    include_str!("../../migrations/20261122000001_pgqueue_jobs/down.sql"),
);

/// Everything of ours that a database may hold, in any schema.
const OURS: &str = "
    SELECT (SELECT count(*) FROM pg_class WHERE relname LIKE 'pgqueue%')
         + (SELECT count(*) FROM pg_proc WHERE proname LIKE 'pgqueue%')
         + (SELECT count(*) FROM pg_trigger WHERE tgname LIKE 'pgqueue%')
         + (SELECT count(*) FROM pg_type WHERE typname ~ '^_?pgqueue')
         + (SELECT count(*) FROM pg_constraint WHERE conname LIKE 'pgqueue%')";

/// One job goes in, a worker runs it, and its row stands in the schema of the connection.
async fn assert_works(db: &TestDatabase) {
    let mut conn = db.sync();
    let id = NewJob::new("email", json!({}))
        .enqueue(&mut conn)
        .unwrap()
        .id;
    let bulk = pgqueue_core::enqueue_all(&mut conn, [NewJob::new("email", json!({}))]).unwrap();
    let handled = |_, _| async { Ok::<_, String>(()) };
    let worker = Worker::builder(db.url())
        .handle_kind("email", handled)
        .build()
        .unwrap();

    tokio::time::timeout(Duration::from_secs(60), worker.run_until_empty())
        .await
        .expect("the worker ends when nothing is left")
        .unwrap();

    assert_eq!(db.job(id).state, JobState::Completed);
    assert_eq!(db.job(bulk[0].id).state, JobState::Completed);
}

/// Makes a schema current for all later connections to the database.
fn use_schema(db: &TestDatabase, schema: &str) {
    let quoted = format!("\"{}\"", schema.replace('"', "\"\""));
    db.execute(&format!("CREATE SCHEMA {quoted}"));
    db.set_default(&format!("search_path = {quoted}"));
}

fn jobs_oid(db: &TestDatabase) -> i64 {
    db.number("SELECT coalesce(to_regclass('pgqueue_jobs')::oid::bigint, 0)")
}

fn refusal(outcome: Result<(), Error>) -> String {
    refusal_of(ErrorKind::Migration, outcome)
}

fn refusal_of(kind: ErrorKind, outcome: Result<(), Error>) -> String {
    let error = outcome.unwrap_err();
    assert_eq!(error.kind(), kind, "{error}");
    error.to_string()
}
