//! What a worker costs that has little to do: one that is idle, and one of which 10,000 jobs are in flight and sleep.
//! Transactions and processor time a second, and memory. An idle worker may make one query a second.
//!
//! `cargo bench --bench idle` watches each once, `-- --full` three times; `--jobs N`, `--rounds N`, `--only flight`, `--json`.
//! `DATABASE_URL` names a server to use instead of a private one.

use std::time::Duration;

use local_postgres::{Database, LocalPostgres};
use pgqueue_core::{JobState, Worker};
use pgqueue_suite::bench::options::{Options, Sizes};
use pgqueue_suite::bench::report::{self, Row, note};
use pgqueue_suite::bench::{load, median, processor, work};

/// How long a worker is watched.
const WATCHED: Duration = Duration::from_secs(20);
/// The server tells of a transaction so late at most: by then it has told of all that the start of the worker took, and the
/// first looks after its start, which come ever more rarely, are over.
const SETTLED: Duration = Duration::from_secs(11);
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
        WATCHED.as_secs()
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
        tokio::time::sleep(SETTLED).await;
        let before = Look::at(&elsewhere, database.name())?;
        tokio::time::sleep(WATCHED).await;
        let after = Look::at(&elsewhere, database.name())?;
        memory.extend(processor::resident().map(megabytes));
        let seen = f64::from(i32::try_from(after.transactions - before.transactions)?);
        row.ours.push(seen / WATCHED.as_secs_f64());
        client.extend(per_cent(before.client, after.client));
        database_time.extend(per_cent(before.server, after.server));
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

/// What the meters show at one moment.
struct Look {
    transactions: i64,
    client: Option<Duration>,
    server: Option<Duration>,
}

impl Look {
    fn at(elsewhere: &Database, name: &str) -> anyhow::Result<Self> {
        Ok(Self {
            transactions: work::transactions(elsewhere.url(), name)?,
            client: processor::of_this_process(),
            server: processor::of_server(elsewhere.url()),
        })
    }
}

fn per_cent(before: Option<Duration>, after: Option<Duration>) -> Option<f64> {
    let spent = after?.checked_sub(before?)?;
    Some(100.0 * spent.as_secs_f64() / WATCHED.as_secs_f64())
}

#[expect(clippy::cast_precision_loss, reason = "it is rounded when it is shown")]
fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}
