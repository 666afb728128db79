//! Every kind of connection enqueues: alone, in a transaction, and in a savepoint inside one.

use diesel::connection::LoadConnection;
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::r2d2::{ConnectionManager, Pool, PooledConnection};
use diesel::result::Error::RollbackTransaction;
use diesel_async::async_connection_wrapper::AsyncConnectionWrapper;
use diesel_async::pooled_connection::{bb8, deadpool};
use diesel_async::{AsyncConnectionCore, AsyncPgConnection};
use pgqueue_suite::TestDatabase;

use super::job;

/// Gives the kinds of all jobs, in the order they were enqueued.
fn kinds(db: &TestDatabase) -> Vec<String> {
    db.jobs().into_iter().map(|job| job.kind).collect()
}

fn sync_alone(db: &TestDatabase, conn: &mut impl LoadConnection<Backend = Pg>) {
    let first = job("first").enqueue(conn).unwrap();
    let second = job("second").enqueue(conn).unwrap();

    assert!(first.inserted && second.inserted);
    assert_eq!(db.job(first.id).kind, "first");
    assert_eq!(kinds(db), ["first", "second"]);
}

fn sync_commit(db: &TestDatabase, conn: &mut impl LoadConnection<Backend = Pg>) {
    conn.transaction(|conn| {
        job("first").enqueue(conn)?;
        assert_eq!(kinds(db), [""; 0], "nobody sees it before the commit");
        job("second").enqueue(conn)
    })
    .unwrap();

    assert_eq!(kinds(db), ["first", "second"]);
}

fn sync_rollback(db: &TestDatabase, conn: &mut impl LoadConnection<Backend = Pg>) {
    let outcome: QueryResult<()> = conn.transaction(|conn| {
        job("first").enqueue(conn)?;
        Err(RollbackTransaction)
    });

    assert_eq!(outcome, Err(RollbackTransaction));
    assert_eq!(kinds(db), [""; 0]);
}

fn sync_savepoint(db: &TestDatabase, conn: &mut impl LoadConnection<Backend = Pg>) {
    conn.transaction(|conn| {
        job("outer").enqueue(conn)?;
        conn.transaction(|conn| job("inner").enqueue(conn))
    })
    .unwrap();

    assert_eq!(kinds(db), ["outer", "inner"]);
}

fn sync_savepoint_rollback(db: &TestDatabase, conn: &mut impl LoadConnection<Backend = Pg>) {
    conn.transaction(|conn| {
        job("outer").enqueue(conn)?;
        let inner: QueryResult<()> = conn.transaction(|conn| {
            job("inner").enqueue(conn)?;
            Err(RollbackTransaction)
        });
        assert_eq!(inner, Err(RollbackTransaction));
        job("after").enqueue(conn)
    })
    .unwrap();

    assert_eq!(kinds(db), ["outer", "after"]);
}

fn sync_outer_rollback(db: &TestDatabase, conn: &mut impl LoadConnection<Backend = Pg>) {
    let outcome: QueryResult<()> = conn.transaction(|conn| {
        conn.transaction(|conn| job("inner").enqueue(conn))?;
        Err(RollbackTransaction)
    });

    assert_eq!(outcome, Err(RollbackTransaction));
    assert_eq!(kinds(db), [""; 0]);
}

macro_rules! sync_connection {
    ($name:ident, $connect:path) => {
        mod $name {
            use pgqueue_suite::TestDatabase;

            macro_rules! scenario {
                ($test:ident, $scenario:ident) => {
                    #[test]
                    fn $test() {
                        let db = TestDatabase::migrated();
                        super::$scenario(&db, &mut $connect(&db));
                    }
                };
            }
            scenario!(enqueues_outside_a_transaction, sync_alone);
            scenario!(a_committed_transaction_enqueues, sync_commit);
            scenario!(a_rolled_back_transaction_enqueues_nothing, sync_rollback);
            scenario!(a_committed_savepoint_enqueues, sync_savepoint);
            scenario!(
                a_rolled_back_savepoint_enqueues_nothing_and_spares_the_rest,
                sync_savepoint_rollback
            );
            scenario!(
                a_rollback_around_a_savepoint_enqueues_nothing,
                sync_outer_rollback
            );
        }
    };
}

fn r2d2(db: &TestDatabase) -> PooledConnection<ConnectionManager<PgConnection>> {
    let manager = ConnectionManager::new(db.url());
    let pool = Pool::builder().max_size(1).build(manager).unwrap();
    pool.get().unwrap()
}

fn wrapper(db: &TestDatabase) -> AsyncConnectionWrapper<AsyncPgConnection> {
    Connection::establish(db.url()).unwrap()
}

sync_connection!(pg_connection, TestDatabase::sync);
sync_connection!(r2d2_connection, super::r2d2);
sync_connection!(async_connection_wrapper, super::wrapper);

/// Enqueues two jobs, one after the other.
async fn one_by_one<C>(conn: &mut C, first: &str, second: &str) -> QueryResult<()>
where
    C: AsyncConnectionCore<Backend = Pg>,
{
    job(first).enqueue_async(conn).await?;
    job(second).enqueue_async(conn).await?;
    Ok(())
}

/// Enqueues two jobs on a shared reference, in one round trip.
async fn pipelined(conn: &mut AsyncPgConnection, first: &str, second: &str) -> QueryResult<()> {
    let conn = &*conn;
    let (first, second) = tokio::try_join!(
        job(first).enqueue_async(&mut &*conn),
        job(second).enqueue_async(&mut &*conn),
    )?;
    assert!(first.inserted && second.inserted);
    Ok(())
}

macro_rules! async_connection {
    ($name:ident, $connect:path, $enqueue:path) => {
        mod $name {
            use diesel::QueryResult;
            use diesel::result::Error::RollbackTransaction;
            use diesel_async::AsyncConnection;
            use pgqueue_suite::TestDatabase;

            use super::kinds;

            #[tokio::test]
            async fn enqueues_outside_a_transaction() {
                let db = TestDatabase::migrated();
                let mut conn = $connect(&db).await;

                $enqueue(&mut conn, "first", "second").await.unwrap();

                assert_eq!(kinds(&db), ["first", "second"]);
            }

            #[tokio::test]
            async fn a_committed_transaction_enqueues() {
                let db = TestDatabase::migrated();
                let mut conn = $connect(&db).await;

                conn.transaction(async |conn| {
                    $enqueue(conn, "first", "second").await?;
                    assert_eq!(kinds(&db), [""; 0], "nobody sees them before the commit");
                    QueryResult::Ok(())
                })
                .await
                .unwrap();

                assert_eq!(kinds(&db), ["first", "second"]);
            }

            #[tokio::test]
            async fn a_rolled_back_transaction_enqueues_nothing() {
                let db = TestDatabase::migrated();
                let mut conn = $connect(&db).await;

                let outcome: QueryResult<()> = conn
                    .transaction(async |conn| {
                        $enqueue(conn, "first", "second").await?;
                        Err(RollbackTransaction)
                    })
                    .await;

                assert_eq!(outcome, Err(RollbackTransaction));
                assert_eq!(kinds(&db), [""; 0]);
            }

            #[tokio::test]
            async fn a_committed_savepoint_enqueues() {
                let db = TestDatabase::migrated();
                let mut conn = $connect(&db).await;

                conn.transaction(async |conn| {
                    $enqueue(conn, "first", "second").await?;
                    conn.transaction(async |conn| $enqueue(conn, "third", "fourth").await)
                        .await
                })
                .await
                .unwrap();

                assert_eq!(kinds(&db), ["first", "second", "third", "fourth"]);
            }

            #[tokio::test]
            async fn a_rolled_back_savepoint_enqueues_nothing_and_spares_the_rest() {
                let db = TestDatabase::migrated();
                let mut conn = $connect(&db).await;

                conn.transaction(async |conn| {
                    $enqueue(conn, "first", "second").await?;
                    let inner: QueryResult<()> = conn
                        .transaction(async |conn| {
                            $enqueue(conn, "third", "fourth").await?;
                            Err(RollbackTransaction)
                        })
                        .await;
                    assert_eq!(inner, Err(RollbackTransaction));
                    $enqueue(conn, "fifth", "sixth").await
                })
                .await
                .unwrap();

                assert_eq!(kinds(&db), ["first", "second", "fifth", "sixth"]);
            }

            #[tokio::test]
            async fn a_rollback_around_a_savepoint_enqueues_nothing() {
                let db = TestDatabase::migrated();
                let mut conn = $connect(&db).await;

                let outcome: QueryResult<()> = conn
                    .transaction(async |conn| {
                        conn.transaction(async |conn| $enqueue(conn, "first", "second").await)
                            .await?;
                        Err(RollbackTransaction)
                    })
                    .await;

                assert_eq!(outcome, Err(RollbackTransaction));
                assert_eq!(kinds(&db), [""; 0]);
            }
        }
    };
}

async fn deadpool(db: &TestDatabase) -> deadpool::Object<AsyncPgConnection> {
    db.deadpool(1).get().await.unwrap()
}

async fn bb8(db: &TestDatabase) -> bb8::PooledConnection<'static, AsyncPgConnection> {
    db.bb8().await.get_owned().await.unwrap()
}

async_connection!(
    async_pg_connection,
    TestDatabase::asynchronous,
    super::one_by_one
);
async_connection!(
    shared_async_pg_connection,
    TestDatabase::asynchronous,
    super::pipelined
);
async_connection!(deadpool_connection, super::deadpool, super::one_by_one);
async_connection!(bb8_connection, super::bb8, super::one_by_one);

#[tokio::test]
async fn an_enqueue_may_be_spawned() {
    let db = TestDatabase::migrated();
    let mut conn = db.asynchronous().await;

    let enqueued = tokio::spawn(async move { job("spawned").enqueue_async(&mut conn).await });

    assert!(enqueued.await.unwrap().unwrap().inserted);
    assert_eq!(kinds(&db), ["spawned"]);
}
