//! What a transaction costs that somebody forgot: the drain of a backlog while a snapshot is held from before it was filled,
//! beside the same drain without one. Nothing can be vacuumed then, and a claim walks over what was claimed before.
//!
//! `cargo bench --bench held_snapshot` drains 60,000 jobs twice, `-- --full` 500,000 three times; `--jobs N`, `--rounds N`,
//! `--json`. `DATABASE_URL` names a server to use instead of a private one.

use diesel::connection::SimpleConnection as _;
use diesel::prelude::*;
use local_postgres::LocalPostgres;
use pgqueue_suite::bench::options::{Options, Sizes};
use pgqueue_suite::bench::report::{self, Row, a_second, compare};
use pgqueue_suite::bench::{load, server, work};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let options = Options::from_args(Sizes::new(60_000, 2), Sizes::new(500_000, 3))?;
    let server = server()?;
    let mut row = Row::new("drain under a held snapshot", "jobs/s");
    row.target = Some(0.6);
    let of = async |is_held| drain(&server, options.jobs, is_held).await;
    let row = compare(
        row,
        options.rounds,
        async || of(true).await,
        async || of(false).await,
    )
    .await?;
    let title = format!(
        "PostgreSQL {}, {} jobs, {} rounds, default settings; yardstick: the same without a held snapshot",
        server.version(),
        options.jobs,
        options.rounds
    );
    report::print(&title, &[row], options.json);
    Ok(())
}

async fn drain(server: &LocalPostgres, jobs: i32, is_held: bool) -> anyhow::Result<f64> {
    let database = load::empty(server)?;
    let mut holder = PgConnection::establish(database.url())?;
    if is_held {
        holder.batch_execute(
            "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM pgqueue_queues",
        )?;
    }
    load::fill(&database, &load::due(jobs))?;
    let took = work::drain_by_default(database.url(), i64::from(jobs)).await?;
    Ok(a_second(jobs, took))
}
