//! How soon a job begins: from the call that enqueues it to the start of its handler, on a worker that is idle but for 40
//! jobs a second; beside a bare listener that is notified by the insert, claims, and has the row.
//!
//! `cargo bench --bench latency` enqueues 200 jobs twice, `-- --full` 400 jobs five times; `--jobs N`, `--rounds N`, `--json`.
//! `DATABASE_URL` names a server to use instead of a private one. Both sides are this process, so one clock tells.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use diesel_async::{AsyncConnection, AsyncPgConnection};
use futures_util::{StreamExt as _, stream};
use local_postgres::LocalPostgres;
use pgqueue_core::{NewJob, RawJob, Worker};
use pgqueue_suite::bench::options::{Options, Sizes};
use pgqueue_suite::bench::report::{self, Row, note};
use pgqueue_suite::bench::{bare, load, server};
use serde_json::json;
use tokio_postgres::{AsyncMessage, NoTls};

/// Between two jobs.
const PAUSE: Duration = Duration::from_millis(25);
/// What is enqueued before anything is measured: connections are made, statements prepared.
const WARM_UP: usize = 20;

/// When each job was enqueued, and how long it took to begin.
#[derive(Debug, Clone, Default)]
struct Times(Arc<Mutex<(Vec<Instant>, Vec<f64>)>>);

impl Times {
    /// Notes that the next job is being enqueued, and gives its number.
    fn enqueued(&self) -> usize {
        let mut times = self.lock();
        times.0.push(Instant::now());
        times.0.len() - 1
    }

    /// Notes that a job has begun.
    fn begun(&self, number: usize) {
        let now = Instant::now();
        let mut times = self.lock();
        let took = now.duration_since(times.0[number]).as_secs_f64() * 1e3;
        if number >= WARM_UP {
            times.1.push(took);
        }
    }

    /// Gives the milliseconds that so many per cent of the jobs took at most.
    fn percentile(&self, percent: usize) -> f64 {
        let mut took = self.lock().1.clone();
        took.sort_by(f64::total_cmp);
        took[(took.len() * percent / 100).min(took.len() - 1)]
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, (Vec<Instant>, Vec<f64>)> {
        self.0
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let options = Options::from_args(Sizes::new(200, 2), Sizes::new(400, 5))?;
    let server = server()?;
    let jobs = WARM_UP + usize::try_from(options.jobs)?;
    let mut rows = [
        row("wake-up of an idle worker, p50"),
        row("wake-up of an idle worker, p99"),
    ];
    for round in 1..=options.rounds {
        let ours = ours(&server, jobs).await?;
        let bare = listener(&server, jobs).await?;
        for (row, percent) in rows.iter_mut().zip([50, 99]) {
            row.ours.push(ours.percentile(percent));
            row.yardstick.push(bare.percentile(percent));
        }
        note(&format!(
            "round {round}: p50 {:.2} ms, bare {:.2} ms",
            ours.percentile(50),
            bare.percentile(50)
        ));
    }
    let title = format!(
        "PostgreSQL {}, {} jobs a round, one each {} ms; yardstick: a bare listener that claims",
        server.version(),
        options.jobs,
        PAUSE.as_millis()
    );
    report::print(&title, &rows, options.json);
    Ok(())
}

fn row(name: &str) -> Row {
    let mut row = Row::new(name, "ms");
    row.target = Some(1.3);
    row.less_is_better = true;
    row
}

async fn ours(server: &LocalPostgres, jobs: usize) -> anyhow::Result<Times> {
    let database = load::empty(server)?;
    let times = Times::default();
    let noted = times.clone();
    let worker = Worker::builder(database.url())
        .handle_kind("noop", move |job: RawJob, _ctx| {
            noted.begun(number(&job.payload));
            std::future::ready(Ok::<_, String>(()))
        })
        .build()?;
    let handle = worker.handle();
    let working = tokio::spawn(worker.run(std::future::pending::<()>()));
    let mut conn = AsyncPgConnection::establish(database.url()).await?;
    for _ in 0..jobs {
        tokio::time::sleep(PAUSE).await;
        let payload = json!({ "number": times.enqueued() });
        NewJob::new("noop", payload)
            .enqueue_async(&mut conn)
            .await?;
    }
    wait_for(&times, jobs).await;
    handle.stop();
    working.await??;
    Ok(times)
}

async fn listener(server: &LocalPostgres, jobs: usize) -> anyhow::Result<Times> {
    let database = load::empty(server)?;
    let times = Times::default();
    let (hears, mut connection) = tokio_postgres::connect(database.url(), NoTls).await?;
    let mut messages =
        Box::pin(stream::poll_fn(move |context| connection.poll_message(context)).fuse());
    let claims = bare::connect(database.url()).await?;
    let claim = claims.prepare(bare::CLAIM).await?;
    let noted = times.clone();
    let listening = tokio::spawn(async move {
        while let Some(Ok(message)) = messages.next().await {
            if let AsyncMessage::Notification(_) = message {
                for row in claims.query(&claim, &[&10_i64]).await? {
                    noted.begun(number(&row.get(1)));
                }
            }
        }
        anyhow::Ok(())
    });
    hears.batch_execute("LISTEN bare").await?;
    let enqueues = bare::connect(database.url()).await?;
    let insert = "WITH job AS (INSERT INTO pgqueue_jobs (kind, payload) VALUES ('noop', $1) RETURNING id) \
        SELECT pg_notify('bare', 'default') FROM job";
    let insert = enqueues.prepare(insert).await?;
    for _ in 0..jobs {
        tokio::time::sleep(PAUSE).await;
        let payload = json!({ "number": times.enqueued() });
        enqueues.execute(&insert, &[&payload]).await?;
    }
    wait_for(&times, jobs).await;
    listening.abort();
    Ok(times)
}

fn number(payload: &serde_json::Value) -> usize {
    let number = payload["number"].as_u64().unwrap_or_default();
    usize::try_from(number).unwrap_or_default()
}

/// Waits until all jobs have begun.
async fn wait_for(times: &Times, jobs: usize) {
    while times.lock().1.len() + WARM_UP < jobs {
        tokio::time::sleep(PAUSE).await;
    }
}
