//! How fast one worker drains 100,000 jobs that do nothing, beside the same claim and finish statements driven by a bare
//! tokio-postgres loop: same rows, same batch, same durable PostgreSQL, in turns, median of five rounds.
//!
//! `cargo bench --bench throughput`; `-- --jobs 10000 --rounds 1` for a quick look. `DATABASE_URL` names a server to use
//! instead of a private one. Times are the database's: from the first claim to the last finish.

#![expect(clippy::print_stdout, reason = "a benchmark prints its table")]

use std::time::SystemTime;

use anyhow::Context as _;
use local_postgres::{Database, LocalPostgres};
use pgqueue_core::Worker;
use tokio_postgres::types::Timestamp;
use tokio_postgres::{Client, NoTls};

const CLAIM: &str = include_str!("../pgqueue-core/src/sql/claim.sql");
const FINISH: &str = include_str!("../pgqueue-core/src/sql/finish.sql");
const BATCH: usize = 1000;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let options = Options::from_args()?;
    let server = LocalPostgres::builder()
        .durable()
        .setting("shared_buffers", "1GB")
        .setting("max_wal_size", "4GB")
        .unless_env("DATABASE_URL")
        .start()?;
    println!(
        "PostgreSQL {}, {} jobs, batch {BATCH}, {} rounds",
        server.version(),
        options.jobs,
        options.rounds
    );
    let (mut ours, mut bare, mut default) = (Vec::new(), Vec::new(), Vec::new());
    for round in 1..=options.rounds {
        ours.push(measure(&server, options.jobs, drain_with_worker).await?);
        bare.push(measure(&server, options.jobs, drain_bare).await?);
        default.push(measure(&server, options.jobs, drain_default).await?);
        println!(
            "round {round}: worker {:.0} jobs/s, default {:.0}, bare loop {:.0} jobs/s",
            ours[round - 1],
            default[round - 1],
            bare[round - 1]
        );
    }
    let ratio = median(
        &mut ours
            .iter()
            .zip(&bare)
            .map(|(ours, bare)| ours / bare)
            .collect::<Vec<_>>(),
    );
    println!(
        "\n{:<32} {:>12} {:>8}",
        "drain, completed rows kept", "jobs/s", "ratio"
    );
    println!(
        "{:<32} {:>12.0} {ratio:>8.2}",
        "pgqueue, one worker",
        median(&mut ours)
    );
    println!(
        "{:<32} {:>12.0} {:>8.2}",
        "bare loop, one connection",
        median(&mut bare),
        1.0
    );
    Ok(())
}

struct Options {
    jobs: i32,
    rounds: usize,
}

impl Options {
    fn from_args() -> anyhow::Result<Self> {
        let mut options = Self {
            jobs: 100_000,
            rounds: 5,
        };
        let mut args = std::env::args().skip(1).filter(|arg| arg != "--bench");
        while let Some(name) = args.next() {
            let value = args
                .next()
                .with_context(|| format!("{name} needs a number"))?;
            match name.as_str() {
                "--jobs" => options.jobs = value.parse()?,
                "--rounds" => options.rounds = value.parse()?,
                _ => anyhow::bail!("unknown option {name}: --jobs and --rounds are known"),
            }
        }
        Ok(options)
    }
}

/// Drains a new database and gives jobs a second.
async fn measure(
    server: &LocalPostgres,
    jobs: i32,
    drain: impl AsyncFn(&str) -> anyhow::Result<()>,
) -> anyhow::Result<f64> {
    let database: Database = server.database()?;
    let client = connect(database.url()).await?;
    load(&client, database.url(), jobs).await?;
    drain(database.url()).await?;
    let row = client
        .query_one(
            "SELECT count(*), extract(epoch FROM max(finished_at) - min(started_at))::float8 FROM pgqueue_jobs WHERE state = 'completed'",
            &[],
        )
        .await?;
    anyhow::ensure!(
        row.get::<_, i64>(0) == i64::from(jobs),
        "only {} of {jobs} jobs completed",
        row.get::<_, i64>(0)
    );
    Ok(f64::from(jobs) / row.get::<_, f64>(1))
}

async fn load(client: &Client, url: &str, jobs: i32) -> anyhow::Result<()> {
    use diesel_async::{AsyncConnection, AsyncPgConnection};
    pgqueue_core::migrate_async(&mut AsyncPgConnection::establish(url).await?).await?;
    let insert = "INSERT INTO pgqueue_jobs (kind, payload) \
        SELECT 'noop', jsonb_build_object('order_id', n, 'note', 'a small payload') FROM generate_series(1, $1::integer) AS n";
    client.execute(insert, &[&jobs]).await?;
    client.batch_execute("VACUUM ANALYZE pgqueue_jobs").await?;
    client.batch_execute("CHECKPOINT").await?;
    Ok(())
}

async fn drain_with_worker(url: &str) -> anyhow::Result<()> {
    let worker = Worker::builder(url)
        .handle_kind("noop", async |_job, _ctx| Ok::<_, String>(()))
        .concurrency(3 * BATCH)
        .batch(BATCH)
        .build()?;
    worker.run_until_empty().await?;
    Ok(())
}

async fn drain_default(url: &str) -> anyhow::Result<()> {
    let worker = Worker::builder(url)
        .handle_kind("noop", async |_job, _ctx| Ok::<_, String>(()))
        .build()?;
    worker.run_until_empty().await?;
    Ok(())
}

async fn drain_bare(url: &str) -> anyhow::Result<()> {
    let client = connect(url).await?;
    client
        .batch_execute(
            "SET jit = off; SET enable_seqscan = off; SET enable_bitmapscan = off; SET enable_sort = off; \
             SET enable_hashjoin = off; SET enable_mergejoin = off",
        )
        .await?;
    let worker: i64 = client
        .query_one(
            "INSERT INTO pgqueue_workers (name, host, pid, version, queues, kinds, expires_at) \
             VALUES ('bare', '', 0, '', '{}', '{}', now() + interval '1 hour') RETURNING id",
            &[],
        )
        .await?
        .get(0);
    let (claim, finish) = (client.prepare(CLAIM).await?, client.prepare(FINISH).await?);
    let mut place = (Timestamp::NegInfinity, 0_i64);
    for batch in 1_i64.. {
        let after_run_at = vec![place.0; 10];
        let after_id = vec![place.1; 10];
        let slots = i32::try_from(BATCH)?;
        let rows = client
            .query(
                &claim,
                &[
                    &["default"].as_slice(),
                    &[slots].as_slice(),
                    &after_run_at,
                    &after_id,
                    &["noop"].as_slice(),
                    &i64::from(slots),
                    &worker,
                    &batch,
                    &None::<Interval>,
                ],
            )
            .await?;
        let mut jobs: Vec<(i64, i64, SystemTime)> = rows
            .iter()
            .map(|row| (row.get(0), row.get(1), row.get(7)))
            .collect();
        let payloads: Vec<serde_json::Value> = rows.iter().map(|row| row.get(4)).collect();
        std::hint::black_box(payloads);
        jobs.sort_unstable();
        let Some(last) = jobs.iter().map(|job| (job.2, job.0)).max() else {
            return Ok(());
        };
        place = (Timestamp::Value(last.0), last.1);
        let count = jobs.len();
        let (ids, tokens): (Vec<i64>, Vec<i64>) = jobs.iter().map(|job| (job.0, job.1)).unzip();
        let nothing: Vec<Option<serde_json::Value>> = vec![None; count];
        let delays: Vec<Option<Interval>> = (0..count).map(|_| None).collect();
        let finished = client
            .query(
                &finish,
                &[
                    &ids,
                    &tokens,
                    &vec!["completed"; count],
                    &delays,
                    &vec![0_i32; count],
                    &nothing,
                    &nothing,
                ],
            )
            .await?;
        anyhow::ensure!(
            finished.len() == count,
            "{} of {count} finished",
            finished.len()
        );
    }
    Ok(())
}

/// Stands for an `interval`; only nulls are sent.
#[derive(Debug)]
struct Interval;

impl tokio_postgres::types::ToSql for Interval {
    fn to_sql(
        &self,
        _: &tokio_postgres::types::Type,
        _: &mut tokio_postgres::types::private::BytesMut,
    ) -> Result<tokio_postgres::types::IsNull, Box<dyn std::error::Error + Sync + Send>> {
        Ok(tokio_postgres::types::IsNull::Yes)
    }

    fn accepts(ty: &tokio_postgres::types::Type) -> bool {
        *ty == tokio_postgres::types::Type::INTERVAL
    }

    tokio_postgres::types::to_sql_checked!();
}

async fn connect(url: &str) -> anyhow::Result<Client> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
