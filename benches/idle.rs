//! What a worker costs that has little to do: one that is idle, and one of which 10,000 jobs are in flight and sleep.
//! Transactions and processor time a second, and memory. An idle worker may make one query a second.
//!
//! `cargo bench --bench idle` watches each once, `-- --full` three times; `--jobs N`, `--rounds N`, `--only flight`, `--json`.
//! `DATABASE_URL` names a server to use instead of a private one.

use std::time::Duration;

use local_postgres::LocalPostgres;
use pgqueue_core::{JobState, Worker};
use pgqueue_suite::bench::options::{Options, Sizes};
use pgqueue_suite::bench::report::{self, Row, note};
use pgqueue_suite::bench::{load, median, processor, watch, work};

/// Most queries a second of an idle worker.
const IDLE: f64 = 1.0;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let options = Options::from_args(Sizes::new(10_000, 1), Sizes::new(10_000, 3))?;
    // Autovacuum visits a database now and then, and its transactions would pass for the worker's.
    let server = LocalPostgres::builder()
        .durable()
        .setting("autovacuum", "off")
        .unless_env("DATABASE_URL")
        .start()?;
    let mut rows = Vec::new();
    let mut idle = Row::new("an idle worker", "transactions/s");
    (idle.limit, idle.less_is_better) = (Some(IDLE), true);
    let flight = Row::new(format!("{} jobs in flight", options.jobs), "transactions/s");
    for (row, jobs) in [(idle, 0), (flight, options.jobs)] {
        if options.wants(&row.name) {
            rows.push(measure(&server, row, jobs, options.rounds).await?);
        }
    }
    let title = format!(
        "PostgreSQL {}, watched for {} s a round",
        server.version(),
        watch::WATCHED.as_secs()
    );
    report::print(&title, &rows, options.json);
    Ok(())
}

async fn measure(
    server: &LocalPostgres,
    mut row: Row,
    jobs: i32,
    rounds: usize,
) -> anyhow::Result<Row> {
    let (mut client, mut database_time, mut memory) = (Vec::new(), Vec::new(), Vec::new());
    for round in 1..=rounds {
        let database = load::backlog(server, jobs)?;
        let elsewhere = server.database()?;
        let url = database.url();
        let worker = Worker::builder(url)
            .handle_kind("noop", |_job, _ctx| {
                std::future::pending::<Result<(), String>>()
            })
            .concurrency(usize::try_from(jobs)?.max(10))
            .shutdown_grace(Duration::ZERO)
            .build()?;
        let handle = worker.handle();
        let working = tokio::spawn(worker.run(std::future::pending::<()>()));
        while work::count(url, JobState::Running)? < i64::from(jobs) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let seen = watch::watch(&database, &elsewhere).await?;
        memory.extend(processor::resident().map(megabytes));
        row.ours.push(seen.transactions);
        client.extend(seen.client);
        database_time.extend(seen.server);
        note(&format!(
            "{}, round {round}: {:.2} transactions/s",
            row.name,
            row.ours[round - 1]
        ));
        handle.stop_now();
        working.await??;
    }
    row.also = vec![
        ("client, % of a core", median(&client)),
        ("server, % of a core", median(&database_time)),
        ("memory, MB", median(&memory)),
    ];
    Ok(row)
}

#[expect(clippy::cast_precision_loss, reason = "it is rounded when it is shown")]
fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}
