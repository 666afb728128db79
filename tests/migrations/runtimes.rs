//! In transactions, at any isolation level, on every runtime and kind of connection.

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::result::Error::RollbackTransaction;
use pgqueue_core::{Error, ErrorKind, NewJob, migrate, migrate_async};
use pgqueue_suite::TestDatabase;
use serde_json::json;

use super::{OURS, assert_works, refusal_of};

#[test]
fn inside_a_transaction_that_rolls_back_nothing_remains() {
    let db = TestDatabase::empty();

    let outcome: Result<(), diesel::result::Error> = db.sync().transaction(|conn| {
        migrate(conn).unwrap();
        NewJob::new("email", json!({})).enqueue(conn)?;
        Err(RollbackTransaction)
    });

    assert_eq!(outcome, Err(RollbackTransaction));
    assert_eq!(db.number(OURS), 0);
}

#[tokio::test]
async fn inside_an_async_transaction_of_any_isolation_it_commits_with_it() {
    let db = TestDatabase::empty();
    let mut conn = db.asynchronous().await;

    conn.build_transaction()
        .serializable()
        .run(async |conn| {
            diesel_async::SimpleAsyncConnection::batch_execute(conn, "SELECT 1").await?;
            migrate_async(conn).await
        })
        .await
        .unwrap();

    assert_works(&db).await;
}

/// Migrates in a transaction that has a snapshot, after another process has.
fn migrate_after_another(db: &TestDatabase, isolation: &str) -> Result<(), Error> {
    db.sync().transaction(|conn| {
        conn.batch_execute(&format!(
            "SET TRANSACTION ISOLATION LEVEL {isolation}; SELECT"
        ))?;
        migrate(&mut db.sync())?;
        migrate(conn)
    })
}

#[tokio::test]
async fn a_transaction_whose_snapshot_is_older_than_the_tables_is_told_to_run_again() {
    let repeatable = TestDatabase::empty();
    let serializable = TestDatabase::empty();

    let outcomes = [
        migrate_after_another(&repeatable, "REPEATABLE READ"),
        migrate_after_another(&serializable, "SERIALIZABLE"),
    ];

    for outcome in outcomes {
        let message = refusal_of(ErrorKind::Serialization, outcome);
        assert!(
            message.contains("since this transaction began"),
            "{message}"
        );
        assert!(message.contains("Run the transaction again"), "{message}");
    }
    let again = |conn: &mut PgConnection| migrate(conn);
    let mut conn = serializable.sync();
    conn.build_transaction().serializable().run(again).unwrap();
    assert_works(&serializable).await;
}

#[tokio::test]
async fn a_read_committed_transaction_finds_what_another_process_migrated() {
    let db = TestDatabase::empty();

    migrate_after_another(&db, "READ COMMITTED").unwrap();

    assert_works(&db).await;
}

#[test]
fn it_works_where_serializable_is_the_default_and_leaves_the_session_as_it_was() {
    let db = TestDatabase::empty();
    db.set_default("default_transaction_isolation = serializable");
    let mut conn = db.sync();

    migrate(&mut conn).unwrap();

    let level = diesel::dsl::sql::<diesel::sql_types::Text>(
        "SELECT current_setting('transaction_isolation')",
    );
    assert_eq!(level.get_result(&mut conn), Ok("serializable".to_owned()));
}

async fn migrate_and_run_a_job() {
    let db = TestDatabase::empty();
    migrate_async(&mut db.asynchronous().await).await.unwrap();
    assert_works(&db).await;
}

#[tokio::test(flavor = "current_thread")]
async fn migrate_async_works_on_a_current_thread_runtime() {
    migrate_and_run_a_job().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn migrate_async_works_on_a_multi_thread_runtime() {
    migrate_and_run_a_job().await;
}

#[actix_web::test]
async fn migrate_async_works_inside_actix_web() {
    migrate_and_run_a_job().await;
}

#[tokio::test]
async fn migrate_async_takes_a_pooled_connection() {
    let db = TestDatabase::empty();

    migrate_async(&mut db.deadpool(1).get().await.unwrap())
        .await
        .unwrap();
    migrate_async(&mut db.bb8().await.get().await.unwrap())
        .await
        .unwrap();

    assert_works(&db).await;
}
