//! Transaction mode: each transaction gets whichever session is free. What needs no session of its own works: enqueueing,
//! migrating, completing in a transaction; while the worker connects directly.
//!
//! Here the pooler gives every transaction the next of three sessions, so that nothing works by luck.

use std::sync::Arc;

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel_async::{AsyncConnection, AsyncPgConnection};
use pgqueue_core::{Context, Job, JobState, Worker, enqueue_all, enqueue_all_async, migrate};
use pgqueue_suite::TestDatabase;

use crate::pooler::{PgBouncer, knows_prepared_statements};
use crate::{HOUR, Running, job, run_chain, worker};

/// As many sessions as [`scattered`] opens.
const SESSIONS: usize = 3;

/// A pooler of which two transactions of a client one after the other never have the same session.
fn scattered(db: &TestDatabase) -> PgBouncer {
    let mut settings = vec!["pool_mode = transaction", "server_round_robin = 1"];
    if knows_prepared_statements() {
        settings.push("max_prepared_statements = 100");
    }
    let pooler = PgBouncer::start(db, &settings);
    pooler.open_sessions(SESSIONS);
    pooler
}

#[test]
fn the_sessions_of_these_tests_change_with_each_transaction() {
    let db = TestDatabase::empty();
    let pooler = scattered(&db);
    let mut conn = pooler.without_cache();
    let pid = || diesel::dsl::sql::<diesel::sql_types::Integer>("SELECT pg_backend_pid()");

    let pids: Vec<i32> = (0..4)
        .map(|_| pid().get_result(&mut conn).unwrap())
        .collect();

    assert!(pids.windows(2).all(|pair| pair[0] != pair[1]), "{pids:?}");
}

#[tokio::test]
async fn a_worker_that_connects_directly_hears_of_jobs_that_are_enqueued_through_it() {
    let db = TestDatabase::migrated();
    let pooler = scattered(&db);
    let running = Running::start(worker(db.url()));
    let mut conn = pooler.without_cache();

    run_chain(&db, async || job().enqueue(&mut conn).unwrap().id).await;

    running.stop().await;
}

#[test]
fn jobs_are_enqueued_in_every_way_without_a_statement_cache() {
    let db = TestDatabase::migrated();
    let pooler = scattered(&db);
    let mut conn = pooler.without_cache();
    let keyed = |key: &str| job().unique_key(key);

    let first = keyed("a").enqueue(&mut conn).unwrap();
    let again = keyed("a").enqueue(&mut conn).unwrap();
    let bulk = enqueue_all(&mut conn, [keyed("a"), keyed("b"), job(), job()]).unwrap();
    let within = conn.transaction(|conn| job().enqueue(conn)).unwrap();
    let rolled_back: QueryResult<()> = conn.transaction(|conn| {
        job().enqueue(conn)?;
        Err(diesel::result::Error::RollbackTransaction)
    });

    assert_eq!((again.id, again.inserted), (first.id, false));
    let inserted: Vec<bool> = bulk.iter().map(|job| job.inserted).collect();
    assert_eq!(inserted, [false, true, true, true]);
    assert!(within.inserted && rolled_back.is_err());
    assert_eq!(db.count(JobState::Pending), 5);
}

#[test]
fn the_migrations_run_without_a_statement_cache_also_from_two_clients_at_once() {
    let db = TestDatabase::empty();
    let pooler = scattered(&db);
    let (mut one, mut other) = (pooler.without_cache(), pooler.without_cache());

    let migrating = std::thread::spawn(move || migrate(&mut one));
    migrate(&mut other).unwrap();

    migrating.join().unwrap().unwrap();
    assert_eq!(db.number("SELECT count(*) FROM pgqueue_migrations"), 2);
}

#[tokio::test]
async fn an_effect_and_its_completion_commit_together_through_it() {
    let db = TestDatabase::migrated();
    db.execute("CREATE TABLE effects (job_id bigint PRIMARY KEY)");
    let pooler = Arc::new(scattered(&db));
    let through = Arc::clone(&pooler);
    let handler = move |_: Act, ctx: Context| {
        let mut conn = through.without_cache();
        conn.transaction(|conn| {
            conn.batch_execute(&format!("INSERT INTO effects VALUES ({})", ctx.id()))?;
            ctx.complete_in(conn)
        })
    };
    let builder = Worker::builder(db.url()).handle_blocking(handler);
    let running = Running::start(builder.poll_interval(HOUR));

    let jobs: Vec<_> = (0..20).map(|_| Job::to_new(&Act)).collect();
    enqueue_all(&mut pooler.without_cache(), jobs).unwrap();

    db.wait_for_count(JobState::Completed, 20).await;
    assert_eq!(db.number("SELECT count(*) FROM effects"), 20);
    running.stop().await;
}

#[derive(serde::Serialize, serde::Deserialize)]
struct Act;

impl Job for Act {
    const KIND: &'static str = "act";
}

/// diesel-async names all its statements. PgBouncer keeps them apart from 1.21 on, with `max_prepared_statements`; before, a
/// session that did not prepare one does not know it.
#[tokio::test]
async fn async_connections_need_a_pooler_that_knows_their_prepared_statements() {
    let db = TestDatabase::migrated();
    let pooler = scattered(&db);

    let connected = AsyncPgConnection::establish(pooler.url()).await;

    if !knows_prepared_statements() {
        let error = connected.map(|_| ()).unwrap_err();
        assert!(error.to_string().contains("prepared statement"), "{error}");
        return;
    }
    let mut conn = connected.unwrap();
    for _ in 0..2 * SESSIONS {
        job().enqueue_async(&mut conn).await.unwrap();
        enqueue_all_async(&mut conn, [job(), job().unique_key("a")])
            .await
            .unwrap();
    }
    let jobs = i64::try_from(2 * SESSIONS * 2 + 1).unwrap();
    assert_eq!(db.count(JobState::Pending), jobs);
}

#[test]
fn sync_connections_may_keep_their_cache_where_the_pooler_knows_prepared_statements() {
    let db = TestDatabase::migrated();
    let pooler = scattered(&db);
    let mut conn = pooler.sync();

    let enqueued: Vec<_> = (0..2 * SESSIONS)
        .map(|_| job().enqueue(&mut conn))
        .collect();

    let all = enqueued.iter().all(Result::is_ok);
    assert_eq!(all, knows_prepared_statements(), "{enqueued:?}");
}
