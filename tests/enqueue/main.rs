//! Enqueueing on every kind of connection: what is stored, what is refused, who wins a race, and who is woken.

#![expect(
    clippy::unwrap_used,
    reason = "a helper that unwraps fails with the line to look at, as a test does"
)]

mod bulk;
mod connections;
mod insertable;
mod isolation;
mod missing;
mod races;
mod settings;
mod unique;
mod validation;
mod wake;

use diesel::sql_query;
use pgqueue_core::NewJob;
use pgqueue_suite::TestDatabase;
use serde_json::json;
use std::time::{Duration, Instant};

/// Makes a job of a kind, with nothing set.
fn job(kind: &str) -> NewJob {
    NewJob::new(kind, json!({}))
}

/// Waits until so many sessions of the test's database wait for a lock.
fn wait_until_blocked(db: &TestDatabase, sessions: i64) {
    let blocked = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
    let give_up = Instant::now() + Duration::from_secs(60);
    while db.number(blocked) != sessions {
        assert!(
            Instant::now() < give_up,
            "waited in vain until {sessions} sessions were blocked"
        );
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Checks that a connection's transaction has not failed: a failed one refuses every statement.
fn assert_usable(conn: &mut diesel::PgConnection) {
    diesel::RunQueryDsl::execute(sql_query("SELECT 1"), conn).unwrap();
}
