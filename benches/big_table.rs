//! What the rest of the table costs: the drain of a backlog beside fifty times as many completed jobs and ten times as many
//! that are due tomorrow, beside the same drain of an empty table.
//!
//! `cargo bench --bench big_table` drains 10,000 jobs twice, `-- --full` 100,000 three times, beside 5,000,000 completed and
//! 1,000,000 future ones; `--jobs N`, `--rounds N`, `--json`. `DATABASE_URL` names a server to use instead of a private one.

use local_postgres::LocalPostgres;
use pgqueue_suite::bench::options::{Options, Sizes};
use pgqueue_suite::bench::report::{self, Row, a_second, compare};
use pgqueue_suite::bench::{load, server, work};

/// Completed and future jobs for each one that is due.
const COMPLETED: i64 = 50;
const FUTURE: i64 = 10;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let options = Options::from_args(Sizes::new(10_000, 2), Sizes::new(100_000, 3))?;
    let server = server()?;
    let mut row = Row::new("drain of a big table", "jobs/s");
    row.target = Some(0.9);
    let of = async |is_big| drain(&server, options.jobs, is_big).await;
    let row = compare(
        row,
        options.rounds,
        async || of(true).await,
        async || of(false).await,
    )
    .await?;
    let title = format!(
        "PostgreSQL {}, {} jobs beside {} completed and {} future ones, {} rounds, default settings; yardstick: the same in an empty table",
        server.version(),
        options.jobs,
        COMPLETED * i64::from(options.jobs),
        FUTURE * i64::from(options.jobs),
        options.rounds
    );
    report::print(&title, &[row], options.json);
    Ok(())
}

async fn drain(server: &LocalPostgres, jobs: i32, is_big: bool) -> anyhow::Result<f64> {
    let database = load::empty(server)?;
    let completed = COMPLETED * i64::from(jobs) * i64::from(is_big);
    if is_big {
        load::fill(&database, &load::ended(completed))?;
        load::fill(&database, &load::future(FUTURE * i64::from(jobs)))?;
    }
    load::fill(&database, &load::due(jobs))?;
    let took = work::drain_by_default(database.url(), completed + i64::from(jobs)).await?;
    Ok(a_second(jobs, took))
}
