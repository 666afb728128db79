//! How the cost of a job grows: with the rows of the table, with the queues, with the jobs in flight, with the size of the
//! payload. Each drain is by a worker in a process of its own, beside the smallest of its kind in the same round.
//!
//! `cargo bench --bench growth` drains 10,000 jobs once, up to 100,000 other rows, `-- --full` 50,000 three times, up to
//! 10,000,000; `--jobs N`, `--rounds N`, `--only payload`, `--json`. `DATABASE_URL` names a server to use instead of a
//! private one.

use local_postgres::{Database, LocalPostgres};
use pgqueue_core::JobState;
use pgqueue_suite::bench::drain::{self, Measured, Settings};
use pgqueue_suite::bench::options::{Options, Sizes};
use pgqueue_suite::bench::report::{self, Row, note};
use pgqueue_suite::bench::{load, median, server, work};

/// Of the other rows, one in so many is due tomorrow; the rest are completed.
const FUTURE: i32 = 6;
/// Jobs of all payloads together hold so many bytes at most.
const BYTES: i32 = 200_000_000;
/// With one slot fewer are measured, one in so many.
const ONE_BY_ONE: i32 = 10;

/// What is drained.
#[derive(Debug, Clone)]
struct Scenario {
    axis: &'static str,
    name: String,
    /// Completed and future jobs in the same table.
    rows: i32,
    queues: i32,
    in_flight: Option<usize>,
    /// Bytes of each payload; none for the small one of the other benchmarks.
    payload: Option<i32>,
    jobs: i32,
}

impl Scenario {
    fn new(axis: &'static str, name: String, jobs: i32) -> Self {
        Self {
            axis,
            name,
            rows: 0,
            queues: 1,
            in_flight: None,
            payload: None,
            jobs,
        }
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    if drain::serve().await? {
        return Ok(());
    }
    let options = Options::from_args(Sizes::new(10_000, 1), Sizes::new(50_000, 3))?;
    let server = server()?;
    let mut rows = Vec::new();
    for scenarios in [
        by_rows(&options),
        by_queues(options.jobs),
        by_flight(options.jobs),
        by_payload(options.jobs),
    ] {
        if scenarios
            .iter()
            .any(|scenario| options.wants(&scenario.name))
        {
            rows.extend(measure(&server, &scenarios, options.rounds)?);
        }
    }
    let title = format!(
        "PostgreSQL {}, {} jobs (fewer of large payloads and one by one), {} rounds; yardstick: the first of each group",
        server.version(),
        options.jobs,
        options.rounds
    );
    report::print(&title, &rows, options.json);
    Ok(())
}

fn by_rows(options: &Options) -> Vec<Scenario> {
    let most = if options.is_full { 4 } else { 2 };
    [10_000, 100_000, 1_000_000, 10_000_000]
        .into_iter()
        .take(most)
        .map(|rows| Scenario {
            rows,
            ..Scenario::new(
                "rows in the table",
                format!("{rows} other rows"),
                options.jobs,
            )
        })
        .collect()
}

fn by_queues(jobs: i32) -> Vec<Scenario> {
    [1, 8, 64]
        .map(|queues| Scenario {
            queues,
            ..Scenario::new("queues", format!("{queues} queues"), jobs)
        })
        .to_vec()
}

fn by_flight(jobs: i32) -> Vec<Scenario> {
    [1, 100, 10_000]
        .map(|in_flight| Scenario {
            in_flight: Some(in_flight),
            ..Scenario::new(
                "jobs in flight",
                format!("{in_flight} in flight at most"),
                if in_flight == 1 {
                    (jobs / ONE_BY_ONE).max(1)
                } else {
                    jobs
                },
            )
        })
        .to_vec()
}

fn by_payload(jobs: i32) -> Vec<Scenario> {
    [(100, "100 B"), (10_000, "10 kB"), (100_000, "100 kB")]
        .map(|(bytes, size)| Scenario {
            payload: Some(bytes),
            ..Scenario::new(
                "payload",
                format!("payloads of {size}"),
                jobs.min(BYTES / bytes),
            )
        })
        .to_vec()
}

/// Measures all scenarios of an axis in turns; the first is the yardstick of the others.
fn measure(
    server: &LocalPostgres,
    scenarios: &[Scenario],
    rounds: usize,
) -> anyhow::Result<Vec<Row>> {
    let mut measured: Vec<Vec<Measured>> = scenarios.iter().map(|_| Vec::new()).collect();
    for round in 1..=rounds {
        for (scenario, measured) in scenarios.iter().zip(&mut measured) {
            let took = drain(server, scenario)?;
            note(&format!(
                "{}, round {round}: {:.0} jobs/s",
                scenario.name, took.rate
            ));
            measured.push(took);
        }
    }
    let first: Vec<f64> = measured[0].iter().map(|of| of.rate).collect();
    let rows = scenarios.iter().zip(&measured);
    Ok(rows
        .map(|(scenario, measured)| row(scenario, measured, &first))
        .collect())
}

fn row(scenario: &Scenario, measured: &[Measured], first: &[f64]) -> Row {
    let mut row = Row::new(scenario.name.as_str(), "jobs/s");
    row.group = Some(scenario.axis);
    row.ours = measured.iter().map(|of| of.rate).collect();
    row.yardstick = first.to_vec();
    row.also = Measured::processor_time(measured);
    let memory = Measured::each(measured, |of| of.megabytes);
    row.also.push(("memory, MB", median(&memory)));
    row
}

fn drain(server: &LocalPostgres, scenario: &Scenario) -> anyhow::Result<Measured> {
    let database = load::empty(server)?;
    if scenario.rows > 0 {
        load::fill(
            &database,
            &load::ended(i64::from(scenario.rows - scenario.rows / FUTURE)),
        )?;
        load::fill(&database, &load::future(i64::from(scenario.rows / FUTURE)))?;
    }
    load::fill(&database, &due(scenario))?;
    let settings = Settings {
        concurrency: scenario.in_flight,
        queues: (0..scenario.queues)
            .filter(|_| scenario.queues > 1)
            .map(queue)
            .collect(),
        ..Settings::default()
    };
    let measured = drain::measure(database.url(), scenario.jobs, &settings, 1)?;
    is_drained(&database, scenario)?;
    Ok(measured)
}

fn queue(number: i32) -> String {
    format!("queue_{number}")
}

/// Gives the statement that enqueues what is to be drained. A large payload is of random digits: it does not shrink when it
/// is stored.
fn due(scenario: &Scenario) -> String {
    let queue = if scenario.queues > 1 {
        format!("'queue_' || n % {}", scenario.queues)
    } else {
        "'default'".to_owned()
    };
    let payload = match scenario.payload {
        Some(bytes) => format!(
            "(SELECT jsonb_build_object('note', left(string_agg(md5(random()::text), ''), {bytes})) \
             FROM generate_series(0, {bytes} / 32))"
        ),
        None => "jsonb_build_object('order_id', n, 'note', 'a small payload')".to_owned(),
    };
    format!(
        "INSERT INTO pgqueue_jobs (queue, kind, payload) \
         SELECT {queue}, 'noop', {payload} FROM generate_series(1, {}) AS n",
        scenario.jobs
    )
}

/// A drain that left something would be quick.
fn is_drained(database: &Database, scenario: &Scenario) -> anyhow::Result<()> {
    let completed = work::count(database.url(), JobState::Completed)?;
    let expected = i64::from(scenario.rows - scenario.rows / FUTURE + scenario.jobs);
    anyhow::ensure!(
        completed == expected,
        "{completed} jobs are completed, and {expected} should be"
    );
    Ok(())
}
