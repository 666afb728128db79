//! How fast jobs that do nothing are drained: by one worker as it is tuned for it, as it is by default, with completed jobs
//! deleted, beside two bare connections that run ideal statements, one claiming while the other ends; and by several workers,
//! beside one. Each worker is a process of its own.
//!
//! `cargo bench --bench throughput` drains 40,000 jobs twice, `-- --full` 100,000 five times; `--jobs N`, `--rounds N`,
//! `--only default`, `--json`. `DATABASE_URL` names a server to use instead of a private one. Times are from the start of a
//! worker to its end, migrations and the fill apart.

use local_postgres::{Database, LocalPostgres};
use pgqueue_core::JobState;
use pgqueue_suite::bench::bare::{self, Done};
use pgqueue_suite::bench::drain::{self, Measured, Settings};
use pgqueue_suite::bench::options::{Options, Sizes};
use pgqueue_suite::bench::report::{self, Row, a_second, note};
use pgqueue_suite::bench::{load, server, work};

/// Jobs a claim: what both sides take at once.
const BATCH: usize = 1000;

/// A way to drain, and what we want of it.
struct Scenario {
    name: &'static str,
    done: Done,
    processes: usize,
    is_wide: bool,
    /// The least ratio: to the bare loop, or of several processes to one.
    target: f64,
    /// The least jobs a second.
    limit: Option<f64>,
}

const SCENARIOS: [Scenario; 5] = [
    Scenario {
        name: "drain, 3,000 slots, rows kept",
        done: Done::Kept,
        processes: 1,
        is_wide: true,
        target: 0.75,
        limit: None,
    },
    Scenario {
        name: "drain, default settings, rows kept",
        done: Done::Kept,
        processes: 1,
        is_wide: false,
        target: 0.75,
        limit: Some(20_000.0),
    },
    Scenario {
        name: "drain, 3,000 slots, rows deleted",
        done: Done::Deleted,
        processes: 1,
        is_wide: true,
        target: 0.85,
        limit: None,
    },
    Scenario {
        name: "drain, default settings, 2 processes to 1",
        done: Done::Kept,
        processes: 2,
        is_wide: false,
        target: 0.9,
        limit: None,
    },
    Scenario {
        name: "drain, default settings, 4 processes to 1",
        done: Done::Kept,
        processes: 4,
        is_wide: false,
        target: 0.9,
        limit: None,
    },
];
/// The most memory that one process may hold, in megabytes.
const MEMORY: f64 = 30.0;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    if drain::serve().await? {
        return Ok(());
    }
    let options = Options::from_args(Sizes::new(40_000, 2), Sizes::new(100_000, 5))?;
    let server = server()?;
    let mut rows = Vec::new();
    for scenario in SCENARIOS
        .iter()
        .filter(|scenario| options.wants(scenario.name))
    {
        rows.extend(measure(&server, &options, scenario).await?);
    }
    let title = format!(
        "PostgreSQL {}, {} jobs, {} rounds; yardstick: two bare connections, {BATCH} jobs a statement; of several processes: one",
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
) -> anyhow::Result<Vec<Row>> {
    let mut row = Row::new(scenario.name, "jobs/s");
    (row.target, row.limit) = (Some(scenario.target), scenario.limit);
    let mut measured = Vec::new();
    for round in 1..=options.rounds {
        let ours = async || ours(server, options.jobs, scenario, scenario.processes);
        let yardstick = async || {
            if scenario.processes > 1 {
                return Ok(self::ours(server, options.jobs, scenario, 1)?.rate);
            }
            bare(server, options.jobs, scenario.done).await
        };
        let (ours, yardstick) = report::in_turn(round, ours, yardstick).await?;
        row.ours.push(ours.rate);
        row.yardstick.push(yardstick);
        note(&format!(
            "{}, round {round}: {:.0} jobs/s, yardstick {yardstick:.0}",
            scenario.name, ours.rate
        ));
        measured.push(ours);
    }
    row.also = Measured::processor_time(&measured);
    let mut memory = Row::new(format!("memory, {}", scenario.name), "MB");
    memory.ours = Measured::each(&measured, |of| of.megabytes);
    memory.less_is_better = true;
    memory.limit = Some(MEMORY);
    memory.group = Some("memory");
    Ok(vec![row, memory])
}

/// Drains by so many workers at once.
fn ours(
    server: &LocalPostgres,
    jobs: i32,
    scenario: &Scenario,
    processes: usize,
) -> anyhow::Result<Measured> {
    let database = load::backlog(server, jobs)?;
    let settings = Settings {
        concurrency: scenario.is_wide.then_some(3 * BATCH),
        batch: scenario.is_wide.then_some(BATCH),
        deletes: scenario.done == Done::Deleted,
        queues: Vec::new(),
    };
    let measured = drain::measure(database.url(), jobs, &settings, processes)?;
    is_drained(&database, jobs, scenario.done)?;
    Ok(measured)
}

async fn bare(server: &LocalPostgres, jobs: i32, done: Done) -> anyhow::Result<f64> {
    let database = load::backlog(server, jobs)?;
    let took = bare::drain(database.url(), i64::try_from(BATCH)?, done).await?;
    is_drained(&database, jobs, done)?;
    Ok(a_second(jobs, took))
}

/// A drain that left something would be quick.
fn is_drained(database: &Database, jobs: i32, done: Done) -> anyhow::Result<()> {
    let completed = work::count(database.url(), JobState::Completed)?;
    let all = work::count_all(database.url())?;
    let expected = if done == Done::Kept {
        i64::from(jobs)
    } else {
        0
    };
    anyhow::ensure!(
        (completed, all) == (expected, expected),
        "{completed} jobs of {all} are completed, and {expected} of {expected} should be"
    );
    Ok(())
}
