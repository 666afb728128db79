//! What NOTIFY costs the host: 32 writers enqueue one job a call, each committed, while a worker is saturated. It has cleared
//! its wake mark then, and our trigger only looks. Beside the same with the trigger dropped, and with one that always notifies.
//!
//! Handlers take 10 ms in 100 slots, so the worker's part of the machine is the same in all three, and the backlog outlasts
//! the measurement: it is checked, as is the mark.
//!
//! `cargo bench --bench writers` measures twice beside a backlog of 100,000 jobs, `-- --full` five times; `--jobs N`,
//! `--rounds N`, `--only always`, `--json`. `DATABASE_URL` names a server to use instead of a private one.

use std::future::ready;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use diesel::prelude::*;
use diesel_async::{AsyncConnection as _, AsyncPgConnection};
use futures_util::future::try_join_all;
use local_postgres::LocalPostgres;
use pgqueue_core::{JobState, NewJob, Worker};
use pgqueue_suite::bench::options::{Options, Sizes};
use pgqueue_suite::bench::report::{self, Row, a_second, compare};
use pgqueue_suite::bench::wake::{self, Announce};
use pgqueue_suite::bench::{load, median, server, work};
use pgqueue_suite::wait_until;
use serde_json::json;

const WRITERS: usize = 32;
/// Jobs at a time, and how long each takes: at most 10,000 a second.
const SLOTS: usize = 100;
const HANDLER: Duration = Duration::from_millis(10);
/// How long is measured.
const WATCHED: Duration = Duration::from_secs(4);
/// How often the mark is looked at meanwhile.
const LOOK: Duration = Duration::from_millis(50);

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let options = Options::from_args(Sizes::new(100_000, 2), Sizes::new(100_000, 5))?;
    let server = server()?;
    let mut rows = Vec::new();
    for (name, yardstick, target) in [
        ("no trigger", Announce::Never, 0.75),
        ("a trigger that always notifies", Announce::Always, 1.8),
    ] {
        let name = format!("{WRITERS} writers, beside {name}");
        if !options.wants(&name) {
            continue;
        }
        let marked = Mutex::new(Vec::new());
        let ours = async || {
            let (rate, part) = measure(&server, Announce::AsMarked, options.jobs).await?;
            marked
                .lock()
                .map_err(|_| anyhow::anyhow!("a round panicked"))?
                .push(part);
            Ok(rate)
        };
        let theirs = async || Ok(measure(&server, yardstick, options.jobs).await?.0);
        let mut row = Row::new(name, "jobs/s");
        row.target = Some(target);
        let mut row = compare(row, options.rounds, ours, theirs).await?;
        let marked = marked.into_inner()?;
        row.also = vec![("mark found set, % of looks", 100.0 * median(&marked))];
        rows.push(row);
    }
    let title = format!(
        "PostgreSQL {}, a worker of {SLOTS} slots with a backlog of {} jobs of {} ms, {} s a round, {} rounds",
        server.version(),
        options.jobs,
        HANDLER.as_millis(),
        WATCHED.as_secs(),
        options.rounds
    );
    report::print(&title, &rows, options.json);
    Ok(())
}

/// Gives jobs a second of all writers, and the part of the looks that found the mark set.
async fn measure(
    server: &LocalPostgres,
    how: Announce,
    backlog: i32,
) -> anyhow::Result<(f64, f64)> {
    let database = load::backlog(server, backlog)?;
    let url = database.url();
    let _listener = wake::announce(url, how).await?;
    let worker = Worker::builder(url)
        .handle_kind("noop", async |_job, _ctx| {
            tokio::time::sleep(HANDLER).await;
            Ok::<_, String>(())
        })
        .concurrency(SLOTS)
        .build()?;
    let handle = worker.handle();
    let working = tokio::spawn(worker.run(std::future::pending::<()>()));
    let mut conn = PgConnection::establish(url)?;
    wait_until("the worker is saturated", || {
        ready(is_saturated(url, &mut conn))
    })
    .await;
    let (written, took, marked) = write(url, &mut conn).await?;
    // The backlog comes before what was written in the order of claims.
    let completed = work::count(url, JobState::Completed)?;
    anyhow::ensure!(
        completed < i64::from(backlog),
        "the worker drained its backlog of {backlog} jobs: give it more with --jobs"
    );
    handle.stop_now();
    working.await??;
    Ok((a_second(written, took), marked))
}

fn is_saturated(url: &str, conn: &mut PgConnection) -> bool {
    let completed = work::count(url, JobState::Completed);
    completed.is_ok_and(|completed| completed > 1000)
        && wake::is_marked(conn).is_ok_and(|marked| !marked)
}

/// Writes while it is watched.
async fn write(url: &str, conn: &mut PgConnection) -> anyhow::Result<(i32, Duration, f64)> {
    let conns = (0..WRITERS).map(|_| AsyncPgConnection::establish(url));
    let conns = try_join_all(conns).await?;
    let started = Instant::now();
    let writers = conns
        .into_iter()
        .map(|conn| tokio::spawn(write_until(conn, started + WATCHED)));
    let writers: Vec<_> = writers.collect();
    let (mut looks, mut marked) = (0.0, 0.0);
    while started.elapsed() < WATCHED {
        tokio::time::sleep(LOOK).await;
        looks += 1.0;
        marked += f64::from(u8::from(wake::is_marked(conn)?));
    }
    let mut written = 0;
    for writer in writers {
        written += writer.await??;
    }
    Ok((written, started.elapsed(), marked / looks))
}

async fn write_until(mut conn: AsyncPgConnection, end: Instant) -> anyhow::Result<i32> {
    let mut written = 0;
    while Instant::now() < end {
        let payload = json!({ "order_id": written, "note": "a small payload" });
        NewJob::new("noop", payload)
            .enqueue_async(&mut conn)
            .await?;
        written += 1;
    }
    Ok(written)
}
