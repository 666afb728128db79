//! Eight processes that migrate at the same moment.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel_async::{AsyncConnection, AsyncPgConnection};
use pgqueue_core::{migrate, migrate_async};
use pgqueue_suite::TestDatabase;

use super::assert_works;

/// Names the database to a process that is started by [`start_migrating`].
const DATABASE: &str = "PGQUEUE_MIGRATE_DATABASE";

/// Starts a process that connects, waits at the gate, and migrates.
fn start_migrating(db: &TestDatabase, how: &str) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", how, "--ignored", "--nocapture"])
        .env(DATABASE, db.url())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Lets processes begin at the same moment: each waits for a shared lock on it, which the test holds until all are there.
const GATE: &str = "SELECT pg_advisory_lock_shared(8)";

#[test]
#[ignore = "run in processes of their own by the tests that migrate at once"]
fn process_that_migrates() {
    let mut conn = PgConnection::establish(&std::env::var(DATABASE).unwrap()).unwrap();
    conn.batch_execute(GATE).unwrap();

    migrate(&mut conn).unwrap();
}

#[tokio::test]
#[ignore = "run in processes of their own by the tests that migrate at once"]
async fn process_that_migrates_async() {
    let url = std::env::var(DATABASE).unwrap();
    let mut conn = AsyncPgConnection::establish(&url).await.unwrap();
    diesel_async::SimpleAsyncConnection::batch_execute(&mut conn, GATE)
        .await
        .unwrap();

    migrate_async(&mut conn).await.unwrap();
}

fn migrate_in_eight_processes_at_once(db: &TestDatabase) {
    let mut gate = db.sync();
    gate.batch_execute("SELECT pg_advisory_lock(8)").unwrap();
    let processes: Vec<Child> = [
        "at_once::process_that_migrates",
        "at_once::process_that_migrates_async",
    ]
    .into_iter()
    .cycle()
    .take(8)
    .map(|how| start_migrating(db, how))
    .collect();
    let waiting = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted
                   AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
    let give_up = Instant::now() + Duration::from_secs(60);
    while db.number(waiting) < 8 {
        assert!(
            Instant::now() < give_up,
            "not all processes came to the gate"
        );
        std::thread::sleep(Duration::from_millis(5));
    }

    gate.batch_execute("SELECT pg_advisory_unlock(8)").unwrap();

    for process in processes {
        let output = process.wait_with_output().unwrap();
        let log = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && log.contains("1 passed"), "{log}");
    }
}

#[tokio::test]
async fn eight_processes_migrate_at_once() {
    let db = TestDatabase::empty();

    migrate_in_eight_processes_at_once(&db);

    assert_eq!(db.number("SELECT count(*) FROM pgqueue_migrations"), 2);
    assert_works(&db).await;
}

#[tokio::test]
async fn eight_processes_migrate_at_once_where_serializable_is_the_default() {
    let db = TestDatabase::empty();
    db.set_default("default_transaction_isolation = serializable");

    migrate_in_eight_processes_at_once(&db);

    assert_works(&db).await;
}
