//! Enqueue without the tables: the message names the migration and the call that makes them.

use diesel::prelude::*;
use diesel::result::Error as DieselError;
use pgqueue_core::schema::pgqueue_jobs;
use pgqueue_core::{Error, ErrorKind, enqueue_all, enqueue_all_async};
use pgqueue_suite::TestDatabase;

use super::job;

fn assert_names_migration_and_call(error: &Error) {
    assert_eq!(error.kind(), ErrorKind::Migration);
    let message = error.to_string();
    for part in [
        "does not exist",
        "20261124000001",
        "pgqueue_core::migrate(&mut conn)",
        "migrate_async",
        "search_path",
    ] {
        assert!(message.contains(part), "{message:?} does not name {part}");
    }
}

fn assert_explained(error: &DieselError) {
    assert_names_migration_and_call(Error::of(error).expect("an error of ours"));
}

#[test]
fn a_sync_enqueue_names_migration_and_call() {
    let db = TestDatabase::empty();

    assert_explained(&job("email").enqueue(&mut db.sync()).unwrap_err());
}

#[test]
fn a_sync_bulk_enqueue_names_migration_and_call() {
    let db = TestDatabase::empty();

    assert_explained(&enqueue_all(&mut db.sync(), [job("email")]).unwrap_err());
}

#[tokio::test]
async fn an_async_enqueue_names_migration_and_call() {
    let db = TestDatabase::empty();

    let error = job("email")
        .enqueue_async(&mut db.asynchronous().await)
        .await
        .unwrap_err();

    assert_explained(&error);
}

#[tokio::test]
async fn an_async_bulk_enqueue_names_migration_and_call() {
    let db = TestDatabase::empty();

    let error = enqueue_all_async(&mut db.asynchronous().await, [job("email")])
        .await
        .unwrap_err();

    assert_explained(&error);
}

#[test]
fn an_insert_by_dsl_is_explained_when_it_becomes_our_error() {
    let db = TestDatabase::empty();

    let error = diesel::insert_into(pgqueue_jobs::table)
        .values(job("email"))
        .execute(&mut db.sync())
        .unwrap_err();

    assert_names_migration_and_call(&Error::from(error));
}

#[test]
fn a_missing_function_is_explained_too() {
    let db = TestDatabase::migrated();
    db.execute("DROP FUNCTION pgqueue_enqueue_again");

    let error = job("email").enqueue(&mut db.sync()).unwrap_err();

    assert_eq!(Error::of(&error).unwrap().kind(), ErrorKind::Migration);
}

#[test]
fn a_missing_table_of_the_host_is_not_blamed_on_us() {
    let db = TestDatabase::migrated();

    let error = diesel::sql_query("SELECT * FROM orders")
        .execute(&mut db.sync())
        .unwrap_err();

    assert_eq!(Error::from(error).kind(), ErrorKind::Database);
}
