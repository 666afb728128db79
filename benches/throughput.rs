//! How fast jobs that do nothing are drained: by one worker as it is tuned for it, as it is by default, with completed jobs
//! deleted, and by several processes; beside two bare connections that run ideal statements, one claiming while the other ends.
//!
//! `cargo bench --bench throughput` drains 40,000 jobs twice, `-- --full` 100,000 five times; `--jobs N`, `--rounds N`,
//! `--only default`, `--json`. `DATABASE_URL` names a server to use instead of a private one. Times are from the start of a
//! worker to its end, migrations and the fill apart.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use local_postgres::{Database, LocalPostgres};
use pgqueue_core::{JobState, Worker};
use pgqueue_suite::bench::bare::{self, Done};
use pgqueue_suite::bench::options::{Options, Sizes};
use pgqueue_suite::bench::report::{self, Row, a_second, microseconds_each, note};
use pgqueue_suite::bench::{load, median, processor, server, work};

/// Jobs a claim: what both sides take at once.
const BATCH: usize = 1000;
/// The argument of a worker in a process of its own.
const PROCESS: &str = "--drain";

/// A way to drain, and the least ratio to the bare loop that we want.
struct Scenario {
    name: &'static str,
    done: Done,
    processes: usize,
    is_tuned: bool,
    target: f64,
}

const SCENARIOS: [Scenario; 5] = [
    Scenario {
        name: "drain, tuned, rows kept",
        done: Done::Kept,
        processes: 0,
        is_tuned: true,
        target: 0.75,
    },
    Scenario {
        name: "drain, default settings, rows kept",
        done: Done::Kept,
        processes: 0,
        is_tuned: false,
        target: 0.75,
    },
    Scenario {
        name: "drain, tuned, rows deleted",
        done: Done::Deleted,
        processes: 0,
        is_tuned: true,
        target: 0.85,
    },
    Scenario {
        name: "drain, default settings, 2 processes",
        done: Done::Kept,
        processes: 2,
        is_tuned: false,
        target: 0.7,
    },
    Scenario {
        name: "drain, default settings, 4 processes",
        done: Done::Kept,
        processes: 4,
        is_tuned: false,
        target: 0.7,
    },
];

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut args = std::env::args().skip(1);
    if args.next().as_deref() == Some(PROCESS) {
        let url = args.next().context("--drain needs a URL")?;
        work::drain(Worker::builder(url.as_str())).await?;
        return Ok(());
    }
    let options = Options::from_args(Sizes::new(40_000, 2), Sizes::new(100_000, 5))?;
    let server = server()?;
    let mut rows = Vec::new();
    for scenario in SCENARIOS
        .iter()
        .filter(|scenario| options.wants(scenario.name))
    {
        rows.push(measure(&server, &options, scenario).await?);
    }
    let title = format!(
        "PostgreSQL {}, {} jobs, {} rounds; yardstick: two bare connections, {BATCH} jobs a statement",
        server.version(),
        options.jobs,
        options.rounds
    );
    report::print(&title, &rows, options.json);
    Ok(())
}

async fn measure(
    server: &LocalPostgres,
    options: &Options,
    scenario: &Scenario,
) -> anyhow::Result<Row> {
    let mut row = Row::new(scenario.name, "jobs/s");
    row.target = Some(scenario.target);
    let (mut client, mut database_time) = (Vec::new(), Vec::new());
    for round in 1..=options.rounds {
        let database = load::backlog(server, options.jobs)?;
        let before = (
            processor::of_this_process(),
            processor::of_server(database.url()),
        );
        row.ours.push(a_second(
            options.jobs,
            ours(scenario, database.url()).await?,
        ));
        let after = (
            processor::of_this_process(),
            processor::of_server(database.url()),
        );
        client.extend(microseconds_each(options.jobs, before.0, after.0));
        database_time.extend(microseconds_each(options.jobs, before.1, after.1));
        is_drained(&database, options.jobs, scenario.done)?;
        drop(database);

        let database = load::backlog(server, options.jobs)?;
        let batch = i64::try_from(BATCH)?;
        let bare = bare::drain(database.url(), batch, scenario.done).await?;
        row.yardstick.push(a_second(options.jobs, bare));
        is_drained(&database, options.jobs, scenario.done)?;
        note(&format!(
            "{}, round {round}: {:.0} jobs/s, bare {:.0}",
            scenario.name,
            row.ours[round - 1],
            row.yardstick[round - 1]
        ));
    }
    row.also = vec![
        ("client, µs of processor time a job", median(&client)),
        ("server, µs of processor time a job", median(&database_time)),
    ];
    if let Some(bytes) = processor::resident() {
        row.also.push(("memory at the end, MB", megabytes(bytes)));
    }
    Ok(row)
}

#[expect(clippy::cast_precision_loss, reason = "it is rounded when it is shown")]
fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

/// Drains by workers; gives the time from their start to the end of the last one.
async fn ours(scenario: &Scenario, url: &str) -> anyhow::Result<Duration> {
    if scenario.processes > 0 {
        return by_processes(scenario.processes, url);
    }
    let mut builder = Worker::builder(url);
    if scenario.is_tuned {
        builder = builder.concurrency(3 * BATCH).batch(BATCH);
    }
    if scenario.done == Done::Deleted {
        builder = builder.completed_retention(Duration::ZERO);
    }
    work::drain(builder).await
}

/// Starts this program again, so many times at once.
fn by_processes(count: usize, url: &str) -> anyhow::Result<Duration> {
    let program = std::env::current_exe()?;
    let started = Instant::now();
    let children: Vec<_> = (0..count)
        .map(|_| {
            Command::new(&program)
                .args([PROCESS, url])
                .stdin(Stdio::null())
                .spawn()
        })
        .collect::<Result<_, _>>()?;
    for mut child in children {
        anyhow::ensure!(child.wait()?.success(), "a worker process failed");
    }
    Ok(started.elapsed())
}

/// A drain that left something would be quick.
fn is_drained(database: &Database, jobs: i32, done: Done) -> anyhow::Result<()> {
    let completed = work::count(database.url(), JobState::Completed)?;
    let pending = work::count(database.url(), JobState::Pending)?;
    let expected = if done == Done::Kept {
        i64::from(jobs)
    } else {
        0
    };
    anyhow::ensure!(
        (completed, pending) == (expected, 0),
        "{completed} jobs are completed, {pending} pending, and {expected} should be completed"
    );
    Ok(())
}
