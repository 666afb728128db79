//! Behind PgBouncer: in session mode everything works; in transaction mode what can work does, and a worker refuses to start.
//!
//! Each test has a PgBouncer of its own. Debian's may be older than 1.21, which brought prepared statements to transaction
//! mode; where that matters a test says what holds for which.

#![expect(
    clippy::unwrap_used,
    reason = "a helper that unwraps fails with the line to look at, as a test does"
)]

mod pooler;
mod refusal;
mod session;
mod transaction;

use std::time::Duration;

use pgqueue_core::{JobState, NewJob, Worker, WorkerBuilder};
use pgqueue_suite::TestDatabase;
use pgqueue_suite::running::Running;
use serde_json::json;

/// So long a poll interval that no test ever sees a poll: what happens, was announced.
const HOUR: Duration = Duration::from_secs(3600);
/// A worker that hears nothing looks again after 10 ms, 20 ms, 40 ms …: so many jobs, one after the other, outlast that.
const CHAIN: usize = 18;

/// A job of kind `job`, with nothing set.
fn job() -> NewJob {
    NewJob::new("job", json!({}))
}

/// A worker that completes jobs of kind `job` and never polls.
fn worker(url: &str) -> WorkerBuilder {
    Worker::builder(url)
        .handle_kind("job", async |_, _| Ok::<_, String>(()))
        .poll_interval(HOUR)
}

/// Enqueues jobs one after the other, each when the one before has run: only a worker that hears of them runs them all.
async fn run_chain(db: &TestDatabase, mut enqueue: impl AsyncFnMut() -> i64) {
    for _ in 0..CHAIN {
        let id = enqueue().await;
        db.wait_for_state(id, JobState::Completed).await;
    }
}
