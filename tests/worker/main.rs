//! The worker: how runs end, what handlers may do, how it is woken, stopped, limited and run.

#![expect(
    clippy::unwrap_used,
    reason = "a helper that unwraps fails with the line to look at, as a test does"
)]

mod building;
mod cancel;
mod causes;
mod clocks;
mod concurrency;
mod connecting;
mod context;
mod deadline;
mod finding;
mod kit;
mod logs;
mod operating;
mod operations;
mod outcomes;
mod prefetch;
mod robustness;
mod running;
mod settings;
mod statistics;
mod tls;
mod wake;

use std::future::Future;
use std::time::Duration;

use diesel_async::{AsyncPgConnection, SimpleAsyncConnection};
use futures_util::StreamExt;
use pgqueue_core::{
    Context, HandlerResult, JobRow, JobState, NewJob, RawJob, RunError, Worker, WorkerBuilder,
};
use pgqueue_suite::running::Running;
use pgqueue_suite::{TestDatabase, wait_until};
use serde_json::json;

/// So long a poll interval that no test ever sees a poll: what happens, was announced.
const HOUR: Duration = Duration::from_secs(3600);

/// A job of kind `job`, with nothing set.
fn job() -> NewJob {
    NewJob::new("job", json!({}))
}

/// Enqueues a job and gives its id.
fn enqueue(db: &TestDatabase, job: NewJob) -> i64 {
    job.enqueue(&mut db.sync()).unwrap().id
}

/// A worker that runs jobs of kind `job` and never polls.
fn worker<F, Fut, R>(db: &TestDatabase, handler: F) -> WorkerBuilder
where
    F: Fn(RawJob, Context) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = R> + Send + 'static,
    R: HandlerResult,
{
    Worker::builder(db.url())
        .handle_kind("job", handler)
        .poll_interval(HOUR)
}

/// Enqueues a job, runs it and whatever else is due until nothing is left, and gives its row.
async fn run_one<S: Send + Sync + 'static>(
    db: &TestDatabase,
    builder: WorkerBuilder<S>,
    job: NewJob,
) -> JobRow {
    let id = enqueue(db, job);
    builder.build().unwrap().run_until_empty().await.unwrap();
    db.job(id)
}

/// Waits until a job has failed so often and its end is stored, and gives its row.
async fn wait_for_failures(db: &TestDatabase, id: i64, failures: usize) -> JobRow {
    wait_until(
        &format!("job {id} has failed {failures} times"),
        async || {
            let row = db.job(id);
            row.state != JobState::Running && errors(&row).len() == failures
        },
    )
    .await;
    db.job(id)
}

/// The kept failures of a job.
fn errors(row: &JobRow) -> &[RunError] {
    &row.errors
}

/// The text of the newest failure.
fn last_error(row: &JobRow) -> &str {
    &errors(row).last().unwrap().message
}

/// The session of the worker's listener.
const LISTENER: &str =
    "FROM pg_stat_activity WHERE datname = current_database() AND query ~ '^(UNLISTEN|NOTIFY)'";

/// Waits until a worker hears notifications: it has tried one on itself.
async fn wait_until_listening(db: &TestDatabase) {
    let probed = format!("SELECT count(*) {LISTENER} AND query ~ '^NOTIFY' AND state = 'idle'");
    wait_until("the worker listens", async || db.number(&probed) > 0).await;
}

/// Hears the notifications that a worker hears.
struct Ear(AsyncPgConnection);

impl Ear {
    async fn open(db: &TestDatabase, channel: &str) -> Self {
        let mut conn = db.asynchronous().await;
        let listen = format!(r#"LISTEN "{channel}""#);
        conn.batch_execute(&listen).await.unwrap();
        Self(conn)
    }

    async fn hears(&mut self, payload: &str) {
        while self.next().await != payload {}
    }

    async fn next(&mut self) -> String {
        let mut heard = std::pin::pin!(self.0.notifications_stream());
        let patience = tokio::time::timeout(Duration::from_secs(60), heard.next());
        patience
            .await
            .expect("something is announced")
            .unwrap()
            .unwrap()
            .payload
    }
}
