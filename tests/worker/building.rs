//! Settings that cannot work, and databases that are not there: errors that name what is wrong.

use std::time::Duration;

use diesel_async::AsyncPgConnection;
use diesel_async::pooled_connection::{AsyncDieselConnectionManager, bb8, deadpool};
use pgqueue_core::{Context, Error, ErrorKind, Job, RawJob, Source, Worker, WorkerBuilder};
use pgqueue_suite::TestDatabase;
use serde::{Deserialize, Serialize};

/// Nobody listens on port 1.
const NOWHERE: &str = "postgres://postgres@127.0.0.1:1/nowhere";

#[derive(Serialize, Deserialize)]
struct Letter;

impl Job for Letter {
    const KIND: &'static str = "letter";
    const QUEUE: &'static str = "mail";
}

async fn read(_: Letter, _: Context) -> Result<(), String> {
    Ok(())
}

async fn raw(_: RawJob, _: Context) -> Result<(), String> {
    Ok(())
}

/// Builds a worker for [`Letter`] with a change, which must be refused with words that name what is wrong.
fn refused(change: impl FnOnce(WorkerBuilder) -> WorkerBuilder, words: &[&str]) {
    let error = change(Worker::builder(NOWHERE).handle(read))
        .build()
        .expect_err(words[0]);
    assert_eq!(error.kind(), ErrorKind::Configuration, "{error}");
    for word in words {
        assert!(error.to_string().contains(word), "{word}: {error}");
    }
}

#[test]
fn every_setting_out_of_its_bounds_is_an_error_that_names_it() {
    let (none, ages) = (Duration::ZERO, Duration::MAX);
    refused(|b| b.concurrency(0), &["concurrency", "0", "1 to"]);
    refused(|b| b.concurrency(usize::MAX), &["concurrency"]);
    refused(|b| b.batch(0), &["batch"]);
    refused(|b| b.batch(usize::MAX), &["batch"]);
    refused(|b| b.poll_interval(none), &["poll_interval"]);
    refused(|b| b.poll_interval(ages), &["poll_interval"]);
    refused(|b| b.retry_base_wait(ages), &["retry_base_wait"]);
    refused(|b| b.lost_base_wait(ages), &["lost_base_wait"]);
    refused(|b| b.lease(none), &["lease"]);
    refused(|b| b.lease(ages), &["lease"]);
    refused(|b| b.timeout(none), &["timeout"]);
    refused(|b| b.timeout(ages), &["timeout"]);
    refused(|b| b.stop_wait(ages), &["stop_wait"]);
    refused(|b| b.shutdown_grace(ages), &["shutdown_grace"]);
    refused(|b| b.completed_retention(ages), &["completed_retention"]);
    refused(|b| b.cancelled_retention(ages), &["cancelled_retention"]);
    refused(|b| b.max_lost(0), &["max_lost"]);
    refused(|b| b.max_lost(i32::MAX), &["max_lost"]);
    refused(|b| b.name("nul\0"), &["name", "NUL"]);
}

#[test]
fn a_queue_that_cannot_be_served_is_an_error_that_names_it() {
    refused(|b| b.queue("", 1), &["queue"]);
    refused(|b| b.queue("m".repeat(129), 1), &["queue", "129"]);
    refused(|b| b.queue("nul\0", 1), &["queue"]);
    refused(|b| b.queue("mail", 0), &["concurrency", "\"mail\"", "0"]);
    refused(
        |b| b.queue("mail", 1).queue("mail", 2),
        &["\"mail\"", "twice"],
    );
    refused(|b| b.only_queues([""]), &["queue"]);
    refused(
        |b| b.only_queues(["mail"]).queue("other", 1),
        &["\"other\"", "only_queues"],
    );
}

#[test]
fn a_handled_type_whose_queue_is_excluded_is_an_error_that_names_both() {
    refused(
        |b| b.only_queues(["default"]),
        &["\"letter\"", "\"mail\"", "only_queues"],
    );
    refused(
        |b| b.only_queues(Vec::<String>::new()),
        &["\"letter\"", "\"mail\""],
    );
}

#[test]
fn a_kind_that_cannot_be_handled_is_an_error_that_names_it() {
    refused(|b| b.handle_kind("", raw), &["kind"]);
    refused(|b| b.handle_kind(&"k".repeat(129), raw), &["kind", "129"]);
    refused(|b| b.handle(read), &["\"letter\"", "two handlers"]);
    refused(
        |b| b.handle_kind("letter", raw),
        &["\"letter\"", "two handlers"],
    );
}

#[test]
fn a_worker_without_a_handler_or_a_queue_is_an_error() {
    let handlerless = Worker::builder(NOWHERE).build().unwrap_err();
    let queueless = Worker::builder(NOWHERE)
        .handle_kind("job", raw)
        .only_queues(Vec::<String>::new())
        .build()
        .unwrap_err();

    assert!(handlerless.to_string().contains("no handler"));
    assert!(queueless.to_string().contains("no queue"));
}

#[test]
fn state_after_a_handler_is_an_error_that_names_the_handlers_kind() {
    let builder = Worker::builder(NOWHERE).handle(read).state(7);
    let builder = builder.handle_kind("other", async |_, _: Context<i32>| Ok::<_, String>(()));

    let error = builder.build().unwrap_err();

    assert_eq!(error.kind(), ErrorKind::Configuration);
    assert!(error.to_string().contains("\"letter\""), "{error}");
}

async fn start(source: impl Into<Source>) -> Error {
    let worker = Worker::builder(source).handle(read).build().unwrap();
    worker.run(std::future::pending::<()>()).await.unwrap_err()
}

#[tokio::test]
async fn a_missing_migration_is_named_at_the_start_with_the_call_to_make() {
    let db = TestDatabase::empty();

    let error = start(db.url()).await;

    assert_eq!(error.kind(), ErrorKind::Migration);
    let message = error.to_string();
    for word in ["migration 2", "pgqueue_core::migrate(", "migrate_async"] {
        assert!(message.contains(word), "{message}");
    }
}

#[tokio::test]
async fn a_database_that_cannot_be_reached_is_a_connection_error_whatever_the_source() {
    let manager = || AsyncDieselConnectionManager::<AsyncPgConnection>::new(NOWHERE);
    let deadpool = deadpool::Pool::builder(manager()).build().unwrap();
    let bb8 = bb8::Pool::builder().build_unchecked(manager());

    let errors = [
        start(NOWHERE).await,
        start(deadpool).await,
        start(bb8).await,
    ];

    for error in errors {
        assert_eq!(error.kind(), ErrorKind::Connection);
        assert!(error.to_string().contains("PostgreSQL"), "{error}");
    }
}

#[test]
fn a_url_that_is_none_is_an_error_that_keeps_its_password_to_itself() {
    let error = Worker::builder("postgres://user:secret@[")
        .handle(read)
        .build()
        .unwrap_err();

    assert_eq!(error.kind(), ErrorKind::Configuration);
    assert!(error.to_string().contains("URL"), "{error}");
    assert!(!format!("{error:?}").contains("secret"), "{error:?}");
}

#[test]
fn a_source_does_not_show_its_password() {
    let shown = format!("{:?}", Source::from("postgres://user:secret@localhost/app"));
    let builder = format!(
        "{:?}",
        Worker::builder("postgres://user:secret@localhost/app")
    );

    assert!(!shown.contains("secret") && !builder.contains("secret"));
}
