//! What a worker costs that has little to do: one that is idle, and one of which 10,000 jobs are in flight and sleep.
//! Transactions and processor time a second, and memory.
//!
//! `cargo bench --bench idle` watches each once, `-- --full` three times; `--jobs N`, `--rounds N`, `--only flight`, `--json`.
//! `DATABASE_URL` names a server to use instead of a private one.

use std::time::Duration;

use local_postgres::LocalPostgres;
use pgqueue_core::{JobState, Worker};
use pgqueue_suite::bench::options::{Options, Sizes};
use pgqueue_suite::bench::report::{self, Row, note};
use pgqueue_suite::bench::{load, median, processor, server, work};

/// How long a worker is watched.
const WATCHED: Duration = Duration::from_secs(10);
/// The server tells of a transaction so late at most.
const LATE: Duration = Duration::from_secs(2);

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let options = Options::from_args(Sizes::new(10_000, 1), Sizes::new(10_000, 3))?;
    let server = server()?;
    let mut rows = Vec::new();
    for (name, jobs) in [
        ("an idle worker".to_owned(), 0),
        (format!("{} jobs in flight", options.jobs), options.jobs),
    ] {
        if options.wants(&name) {
            rows.push(measure(&server, name, jobs, options.rounds).await?);
        }
    }
    let title = format!(
        "PostgreSQL {}, watched for {} s a round",
        server.version(),
        WATCHED.as_secs()
    );
    report::print(&title, &rows, options.json);
    Ok(())
}

async fn measure(
    server: &LocalPostgres,
    name: String,
    jobs: i32,
    rounds: usize,
) -> anyhow::Result<Row> {
    let mut row = Row::new(name, "transactions/s");
    let (mut client, mut database_time, mut memory) = (Vec::new(), Vec::new(), Vec::new());
    for round in 1..=rounds {
        let database = load::backlog(server, jobs)?;
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
        tokio::time::sleep(LATE).await;
        let before = (
            work::transactions(url)?,
            processor::of_this_process(),
            processor::of_server(url),
        );
        tokio::time::sleep(WATCHED).await;
        let after = (processor::of_this_process(), processor::of_server(url));
        memory.extend(processor::resident().map(megabytes));
        tokio::time::sleep(LATE).await;
        // What this benchmark asked for in between is its own: three looks.
        let seen = work::transactions(url)? - before.0 - 3;
        let seconds = (WATCHED + LATE).as_secs_f64();
        row.ours
            .push(f64::from(i32::try_from(seen.max(0))?) / seconds);
        client.extend(per_cent(before.1, after.0));
        database_time.extend(per_cent(before.2, after.1));
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

fn per_cent(before: Option<Duration>, after: Option<Duration>) -> Option<f64> {
    let spent = after?.checked_sub(before?)?;
    Some(100.0 * spent.as_secs_f64() / WATCHED.as_secs_f64())
}

#[expect(clippy::cast_precision_loss, reason = "it is rounded when it is shown")]
fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}
