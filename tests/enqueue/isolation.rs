//! Unique conflicts under stricter isolation: a job that was committed since the transaction began is PostgreSQL's
//! serialization failure, typed as "run the transaction again"; one that was there before is answered as ever.

use std::thread;

use diesel::prelude::*;
use diesel::result::DatabaseErrorKind::SerializationFailure;
use diesel::result::Error as DieselError;
use pgqueue_core::{Enqueued, Error, ErrorKind, enqueue_all};
use pgqueue_suite::TestDatabase;

use super::{job, wait_until_blocked};

/// Runs in a transaction whose snapshot is taken before `work` begins.
fn strictly<T>(
    conn: &mut PgConnection,
    level: &str,
    work: impl FnOnce(&mut PgConnection) -> QueryResult<T>,
) -> QueryResult<T> {
    conn.transaction(|conn| {
        diesel::sql_query(format!("SET TRANSACTION ISOLATION LEVEL {level}")).execute(conn)?;
        diesel::sql_query("SELECT count(*) FROM pgqueue_jobs").execute(conn)?;
        work(conn)
    })
}

fn assert_retryable<T: std::fmt::Debug>(outcome: QueryResult<T>) {
    let error = outcome.unwrap_err();
    assert!(
        matches!(error, DieselError::DatabaseError(SerializationFailure, _)),
        "{error:?}"
    );
    let error = Error::from(error);
    assert_eq!(error.kind(), ErrorKind::Serialization);
    assert!(error.is_retryable());
    assert!(
        error.to_string().ends_with("run the transaction again"),
        "{error}"
    );
}

const LEVELS: [&str; 2] = ["REPEATABLE READ", "SERIALIZABLE"];

#[test]
fn a_key_committed_since_our_snapshot_is_a_retryable_error() {
    for level in LEVELS {
        let db = TestDatabase::migrated();
        let (mut ours, mut theirs) = (db.sync(), db.sync());

        let outcome = strictly(&mut ours, level, |conn| {
            job("theirs").unique_key("k").enqueue(&mut theirs)?;
            job("ours").unique_key("k").enqueue(conn)
        });

        assert_retryable(outcome);
        assert_eq!(db.jobs().len(), 1);
    }
}

#[test]
fn a_key_committed_since_our_snapshot_is_a_retryable_error_in_bulk_too() {
    for level in LEVELS {
        let db = TestDatabase::migrated();
        let (mut ours, mut theirs) = (db.sync(), db.sync());

        let outcome = strictly(&mut ours, level, |conn| {
            job("theirs").unique_key("k").enqueue(&mut theirs)?;
            enqueue_all(
                conn,
                [job("ours").unique_key("j"), job("ours").unique_key("k")],
            )
        });

        assert_retryable(outcome);
        assert_eq!(db.jobs().len(), 1);
    }
}

#[test]
fn a_key_committed_while_we_wait_for_it_is_a_retryable_error() {
    for level in LEVELS {
        let db = TestDatabase::migrated();
        let (mut ours, mut theirs) = (db.sync(), db.sync());

        let waiting = theirs
            .transaction(|conn| {
                job("theirs").unique_key("k").enqueue(conn)?;
                let waiting = thread::spawn(move || {
                    strictly(&mut ours, level, |conn| {
                        job("ours").unique_key("k").enqueue(conn)
                    })
                });
                wait_until_blocked(&db, 1);
                QueryResult::Ok(waiting)
            })
            .unwrap();

        assert_retryable(waiting.join().unwrap());
    }
}

#[test]
fn a_key_that_was_there_before_is_answered_with_its_job() {
    for level in LEVELS {
        let db = TestDatabase::migrated();
        let mut conn = db.sync();
        let taken = job("first").unique_key("k").enqueue(&mut conn).unwrap();

        let answer = strictly(&mut conn, level, |conn| {
            job("second").unique_key("k").enqueue(conn)
        });

        assert_eq!(
            answer,
            Ok(Enqueued {
                id: taken.id,
                inserted: false
            })
        );
    }
}

#[test]
fn the_transaction_succeeds_when_it_is_run_again() {
    let db = TestDatabase::migrated();
    let (mut ours, mut theirs) = (db.sync(), db.sync());
    let mut tries = 0;

    let answer = loop {
        tries += 1;
        let outcome = strictly(&mut ours, "SERIALIZABLE", |conn| {
            job("theirs").unique_key("k").enqueue(&mut theirs)?;
            job("ours").unique_key("k").enqueue(conn)
        });
        match outcome.map_err(Error::from) {
            Err(error) => assert!(error.is_retryable(), "{error}"),
            Ok(answer) => break answer,
        }
    };

    assert_eq!(tries, 2);
    assert!(!answer.inserted);
}

#[tokio::test]
async fn the_async_error_is_typed_as_well() {
    let db = TestDatabase::migrated();
    let mut conn = db.asynchronous().await;

    let outcome = conn
        .build_transaction()
        .serializable()
        .run(async |conn| {
            diesel_async::RunQueryDsl::execute(
                diesel::sql_query("SELECT count(*) FROM pgqueue_jobs"),
                conn,
            )
            .await?;
            job("theirs").unique_key("k").enqueue(&mut db.sync())?;
            job("ours").unique_key("k").enqueue_async(conn).await
        })
        .await;

    assert_retryable(outcome);
}

#[test]
fn enqueues_work_where_serializable_is_the_default() {
    let db = TestDatabase::migrated();
    db.set_default("default_transaction_isolation = serializable");
    let mut conn = db.sync();

    let first = job("email").unique_key("k").enqueue(&mut conn).unwrap();
    let second = job("email").unique_key("k").enqueue(&mut conn).unwrap();

    assert_eq!(
        second,
        Enqueued {
            id: first.id,
            inserted: false
        }
    );
}
