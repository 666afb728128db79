//! The migration lock, held by somebody else: who waits for it holds up nobody, and says whom it waits for.

use std::thread;

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use pgqueue_core::{migrate, migrate_async};
use pgqueue_suite::log::Log;
use pgqueue_suite::{TestDatabase, wait_until};

use super::{VERSION, assert_works};

/// A transaction that migrates and stays open, as a host's own migration may.
struct Holder(PgConnection);

impl Holder {
    fn of(db: &TestDatabase) -> Self {
        let mut conn = db.sync();
        conn.batch_execute("BEGIN").unwrap();
        conn.batch_execute(super::UP).unwrap();
        Self(conn)
    }

    fn pid(&mut self) -> i32 {
        let pid = diesel::dsl::sql::<diesel::sql_types::Integer>("SELECT pg_backend_pid()");
        pid.get_result(&mut self.0).unwrap()
    }

    fn commit(mut self) {
        self.0.batch_execute("COMMIT").unwrap();
    }
}

/// Makes a session recognizable to [`wait_until_it_waits`].
const NAMED: &str = "SET application_name = 'migrating'";

/// Waits until the migrating session has met the lock: it waits for it on the server, or has ended a try.
async fn wait_until_it_waits(db: &TestDatabase) {
    let waiting = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'migrating'
                   AND (wait_event = 'advisory' OR query = 'COMMIT')";
    wait_until("the migration waits", async || db.number(waiting) == 1).await;
}

/// Builds an index while a migration waits for a lock; then lets it have it.
async fn assert_an_index_is_built_meanwhile(db: &TestDatabase, holder: Holder) {
    db.execute("CREATE TABLE host AS SELECT 1 AS id");
    wait_until_it_waits(db).await;

    let mut building = db.sync();
    building
        .batch_execute("SET statement_timeout = '20s'")
        .unwrap();
    building
        .batch_execute("CREATE INDEX CONCURRENTLY host_id ON host (id)")
        .expect("the index does not wait for the migration");

    holder.commit();
}

#[tokio::test]
async fn a_migration_that_waits_does_not_hold_up_an_index_that_is_built_concurrently() {
    let db = TestDatabase::empty();
    let holder = Holder::of(&db);
    let mut conn = db.sync();
    let migrating = thread::spawn(move || {
        conn.batch_execute(NAMED).unwrap();
        migrate(&mut conn)
    });

    assert_an_index_is_built_meanwhile(&db, holder).await;

    migrating.join().unwrap().unwrap();
    assert_works(&db).await;
}

#[tokio::test]
async fn an_async_migration_that_waits_does_not_hold_up_an_index_either() {
    let db = TestDatabase::empty();
    let holder = Holder::of(&db);
    let mut conn = db.asynchronous().await;
    let migrating = tokio::spawn(async move {
        diesel_async::SimpleAsyncConnection::batch_execute(&mut conn, NAMED)
            .await
            .unwrap();
        migrate_async(&mut conn).await
    });

    assert_an_index_is_built_meanwhile(&db, holder).await;

    migrating.await.unwrap().unwrap();
    assert_works(&db).await;
}

#[tokio::test]
async fn another_schema_is_migrated_while_the_lock_of_one_is_held() {
    let db = TestDatabase::empty();
    let holder = Holder::of(&db);
    db.execute("CREATE SCHEMA tenant");
    let mut conn = db.sync();
    conn.batch_execute("SET search_path = tenant; SET statement_timeout = '20s'")
        .unwrap();

    migrate(&mut conn).unwrap();

    holder.commit();
    let versions = "SELECT count(*) FROM tenant.pgqueue_migrations JOIN public.pgqueue_migrations USING (version)";
    assert_eq!(
        db.number(&format!("{versions} WHERE version = '{VERSION}'")),
        1
    );
}

#[tokio::test]
async fn a_migration_that_waits_long_warns_once_and_names_whom_it_waits_for() {
    let db = TestDatabase::empty();
    let mut holder = Holder::of(&db);
    let (log, mut conn) = (Log::default(), db.sync());
    let migrating = thread::spawn({
        let log = log.clone();
        move || {
            let _listening = log.listen();
            migrate(&mut conn)
        }
    });

    wait_until("it warns", async || log.text().contains("WARN")).await;

    let pid = holder.pid();
    holder.commit();
    migrating.join().unwrap().unwrap();
    let text = log.text();
    assert_eq!(text.lines().count(), 1, "{text}");
    assert!(text.contains(r#"schema "public""#), "{text}");
    assert!(text.contains(&format!("held by session {pid} ")), "{text}");
}
