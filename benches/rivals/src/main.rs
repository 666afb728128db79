//! Measures pgqueue beside other job queues for Rust and PostgreSQL: the same workloads on the same server, each queue with
//! its default settings and as its own documentation makes it fast. README.md says what is compared, and how.
//!
//! `cargo run --release --manifest-path benches/rivals/Cargo.toml`; `-- --jobs 100000 --rounds 3`, `--only "best drain"`,
//! `--json`. `DATABASE_URL` names a server to use instead of a private one. Each measurement is a process of its own, and
//! all are made once before any is made again.

mod apalis_postgres;
mod awa;
mod fang;
mod graphile_worker;
mod order;
mod pgqueue;
mod report;
mod riverqueue;
mod system;
mod task;
mod workload;

use std::process::Stdio;
use std::time::Duration;

use anyhow::Context as _;
use local_postgres::{Database, LocalPostgres};
use pgqueue_suite::bench::options::{Options, Sizes};
use pgqueue_suite::bench::{bare, load, report::note, server};
use tokio::process::Command;

use crate::report::{Cell, Table};
use crate::system::{Measured, SYSTEMS};
use crate::task::{Found, Step, Task};
use crate::workload::Workload;

/// The argument of a process that does one task.
const TASK: &str = "--task";
/// A process that takes longer hangs; the slowest fills take a minute.
const LIMIT: Duration = Duration::from_secs(180);

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut args = std::env::args().skip(1);
    if args.next().as_deref() == Some(TASK) {
        return perform(&args.next().context("--task needs a task")?).await;
    }
    let options = Options::from_args(Sizes::new(20_000, 1), Sizes::new(100_000, 3))?;
    let server = server()?;
    let mut table = Table::default();
    for round in 1..=options.rounds {
        for cell in cells().filter(|cell| options.wants(&cell.name())) {
            note(&format!("round {round}: {}", cell.name()));
            match measure(&server, &cell, usize::try_from(options.jobs)?).await {
                Ok(found) => table.add(cell, &found),
                Err(error) => table.fail(cell, &error),
            }
        }
    }
    let title = format!(
        "PostgreSQL {}, {} jobs, {} rounds",
        server.version(),
        options.jobs,
        options.rounds
    );
    table.print(&title, options.json);
    anyhow::ensure!(
        cells().any(|cell| options.wants(&cell.name())),
        "nothing was measured: no `SYSTEM SETTINGS WORKLOAD` has the text of --only"
    );
    anyhow::ensure!(!table.has_failed(), "some measurements failed");
    Ok(())
}

/// Gives everything that is measured in a round, a workload after the other.
fn cells() -> impl Iterator<Item = Cell> {
    Workload::ALL.into_iter().flat_map(|workload| {
        SYSTEMS.into_iter().flat_map(move |system| {
            let settings = system.settings().iter();
            settings.map(move |&settings| Cell {
                system,
                settings,
                workload,
            })
        })
    })
}

/// Measures in a new database.
async fn measure(server: &LocalPostgres, cell: &Cell, jobs: usize) -> anyhow::Result<Found> {
    if let Some(refusal) = cell.refusal() {
        return Ok(Found {
            figures: Vec::new(),
            remark: Some(refusal.to_owned()),
        });
    }
    let database = server.database()?;
    let task = |step| Task {
        system: cell.system.name().to_owned(),
        settings: cell.settings,
        step,
        jobs,
        url: database.url().to_owned(),
    };
    delegate(&task(Step::Migrate)).await?;
    let holder = bare::connect(database.url()).await?;
    if cell.workload == Workload::HeldSnapshot {
        holder
            .batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM pg_class")
            .await?;
    }
    if cell.workload.has_backlog() {
        delegate(&task(Step::Fill)).await?;
    }
    settle(&database)?;
    delegate(&task(step(cell.workload))).await
}

fn step(workload: Workload) -> Step {
    match workload {
        Workload::Drain | Workload::HeldSnapshot => Step::Drain,
        Workload::Latency => Step::Latency,
        Workload::Single => Step::Single(1),
        Workload::SingleOnEight => Step::Single(8),
        Workload::Bulk => Step::Bulk,
        Workload::Mixed => Step::Mixed,
    }
}

/// Leaves the tables as autovacuum would in time, so that this does not run into the measurement.
fn settle(database: &Database) -> anyhow::Result<()> {
    load::fill(database, "SELECT 1")
}

/// Starts this program again for a task, and reads what it found.
async fn delegate(task: &Task) -> anyhow::Result<Found> {
    let child = Command::new(std::env::current_exe()?)
        .args([TASK, &serde_json::to_string(task)?])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .kill_on_drop(true)
        .spawn()?;
    let output = tokio::time::timeout(LIMIT, child.wait_with_output())
        .await
        .with_context(|| format!("the process took longer than {} s", LIMIT.as_secs()))??;
    anyhow::ensure!(
        output.status.success(),
        "the process ended with {}",
        output.status
    );
    let output = String::from_utf8(output.stdout)?;
    let last = output.lines().last().context("the process said nothing")?;
    let said: Result<Found, String> = serde_json::from_str(last)?;
    said.map_err(anyhow::Error::msg)
}

/// Does a task, and ends: whatever still works has been measured.
#[expect(clippy::print_stdout, reason = "the parent reads it")]
async fn perform(task: &str) -> anyhow::Result<()> {
    let task: Task = serde_json::from_str(task)?;
    let system = find(&task.system).context("there is no such system")?;
    let found = system.run(task).await.map_err(|error| format!("{error:#}"));
    println!("{}", serde_json::to_string(&found)?);
    std::process::exit(0)
}

fn find(name: &str) -> Option<&'static dyn Measured> {
    SYSTEMS.into_iter().find(|system| system.name() == name)
}
