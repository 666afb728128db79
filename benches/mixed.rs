//! Producers and a worker at once: four connections that enqueue one job a call, each committed, while a worker with default
//! settings runs them; beside four bare connections that insert into the same table and nobody who claims.
//!
//! `cargo bench --bench mixed` enqueues 10,000 jobs twice, `-- --full` 60,000 five times; `--jobs N`, `--rounds N`, `--json`.
//! `DATABASE_URL` names a server to use instead of a private one.

use std::time::{Duration, Instant};

use diesel_async::{AsyncConnection as _, AsyncPgConnection};
use futures_util::future::try_join_all;
use local_postgres::LocalPostgres;
use pgqueue_core::{JobState, NewJob, Worker};
use pgqueue_suite::bench::options::{Options, Sizes};
use pgqueue_suite::bench::report::{self, Row, a_second, note};
use pgqueue_suite::bench::{bare, load, server, work};
use serde_json::json;

const PRODUCERS: i32 = 4;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let options = Options::from_args(Sizes::new(10_000, 2), Sizes::new(60_000, 5))?;
    let server = server()?;
    let mut row = Row::new("4 producers and a worker, completed", "jobs/s");
    row.limit = Some(6000.0);
    let mut backlog = Row::new("left when the producers are through, work for", "s");
    (backlog.limit, backlog.less_is_better) = (Some(1.0), true);
    backlog.group = Some("backlog");
    for round in 1..=options.rounds {
        let (rate, left) = ours(&server, options.jobs).await?;
        row.ours.push(rate);
        backlog.ours.push(left / rate);
        row.yardstick.push(inserts(&server, options.jobs).await?);
        note(&format!(
            "round {round}: {rate:.0} jobs/s, bare inserts {:.0}; {left:.0} were left when the producers were through",
            row.yardstick[round - 1]
        ));
    }
    let title = format!(
        "PostgreSQL {}, {} jobs by {PRODUCERS} producers, {} rounds; yardstick: their bare inserts, nobody claims",
        server.version(),
        options.jobs,
        options.rounds
    );
    report::print(&title, &[row, backlog], options.json);
    Ok(())
}

/// Gives jobs a second from the first call to the last completion, and how many were left at the last call.
async fn ours(server: &LocalPostgres, jobs: i32) -> anyhow::Result<(f64, f64)> {
    let database = load::empty(server)?;
    let url = database.url();
    let worker = Worker::builder(url)
        .handle_kind("noop", async |_job, _ctx| Ok::<_, String>(()))
        .build()?;
    let handle = worker.handle();
    let working = tokio::spawn(worker.run(std::future::pending::<()>()));
    let conns = (0..PRODUCERS).map(|_| AsyncPgConnection::establish(url));
    let conns = try_join_all(conns).await?;
    let started = Instant::now();
    try_join_all(conns.into_iter().map(async |mut conn| {
        for number in 0..jobs / PRODUCERS {
            let payload = json!({ "order_id": number, "note": "a small payload" });
            NewJob::new("noop", payload)
                .enqueue_async(&mut conn)
                .await?;
        }
        anyhow::Ok(())
    }))
    .await?;
    let expected = i64::from(jobs / PRODUCERS * PRODUCERS);
    let left = expected - work::count(url, JobState::Completed)?;
    while work::count(url, JobState::Completed)? < expected {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let rate = a_second(jobs, started.elapsed());
    handle.stop();
    working.await??;
    Ok((rate, f64::from(i32::try_from(left)?)))
}

async fn inserts(server: &LocalPostgres, jobs: i32) -> anyhow::Result<f64> {
    let database = load::empty(server)?;
    let clients = try_join_all((0..PRODUCERS).map(|_| bare::connect(database.url()))).await?;
    let started = Instant::now();
    try_join_all(
        clients
            .iter()
            .map(|client| bare::insert(client, jobs / PRODUCERS)),
    )
    .await?;
    Ok(a_second(jobs, started.elapsed()))
}
