//! What a process of its own does for one measurement of one system: makes the tables, fills them, or measures.
//!
//! Each in a process of its own, because a filled heap, a warm allocator or a pool that is left over would be measured with
//! the next; the parent reads the figures from the last line of the output. No measurement takes much longer than
//! [`PATIENCE`]: where a system has not run all jobs by then, its rate is that of what it ran.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use futures_util::future::try_join_all;
use pgqueue_suite::bench::{processor, report};
use serde::{Deserialize, Serialize};

use crate::order::{Begun, Order};
use crate::system::{Settings, System};

/// How long jobs are waited for.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long jobs are enqueued one by one.
const ENQUEUES: Duration = Duration::from_secs(3);
/// How long producers and a worker are at it together.
const MIXED: Duration = Duration::from_secs(15);
/// Orders that jobs enqueued by time can have: more than a connection enqueues in so little time.
const MANY: usize = 1_000_000;
/// Connections that enqueue beside a worker.
const PRODUCERS: usize = 4;
/// Between two jobs for an idle worker: 40 a second.
const PAUSE: Duration = Duration::from_millis(25);
/// Jobs of an idle worker that are measured.
const WAKE_UPS: usize = 200;
/// What is enqueued before anything is measured: connections are made, statements prepared.
const WARM_UP: usize = 20;

/// What a process is started for.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Task {
    /// The name of the system.
    pub(crate) system: String,
    /// How its worker is set.
    pub(crate) settings: Settings,
    /// What to do.
    pub(crate) step: Step,
    /// Jobs of the backlog.
    pub(crate) jobs: usize,
    /// The database.
    pub(crate) url: String,
}

/// What a process does.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) enum Step {
    /// Makes the tables.
    Migrate,
    /// Enqueues the backlog.
    Fill,
    /// Works the backlog off; gives jobs a second and the most megabytes that were resident.
    Drain,
    /// Gives the milliseconds that half of the jobs take at most to begin, and 99 of a hundred.
    Latency,
    /// Enqueues one by one on so many connections; gives jobs a second.
    Single(usize),
    /// Enqueues the backlog; gives jobs a second.
    Bulk,
    /// Enqueues and works; gives jobs a second that began.
    Mixed,
}

/// What a task found.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Found {
    /// The figures of the workload, in its order.
    pub(crate) figures: Vec<f64>,
    /// What must be known about them.
    pub(crate) remark: Option<String>,
}

impl Found {
    fn figures<const N: usize>(figures: [f64; N]) -> Self {
        Self {
            figures: figures.to_vec(),
            remark: None,
        }
    }
}

/// Does a task; gives its figures.
///
/// # Errors
/// What the system or the server refuses, and when jobs are missing.
pub(crate) async fn run<S: System>(task: Task) -> anyhow::Result<Found> {
    match task.step {
        Step::Migrate => S::migrate(&task.url).await.map(|()| Found::default()),
        Step::Fill => fill::<S>(&task).await.map(|()| Found::default()),
        Step::Drain => drain::<S>(&task).await,
        Step::Latency => latency::<S>(&task).await,
        Step::Single(connections) => single::<S>(&task, connections).await,
        Step::Bulk => bulk::<S>(&task).await,
        Step::Mixed => mixed::<S>(&task).await,
    }
}

async fn fill<S: System>(task: &Task) -> anyhow::Result<()> {
    let orders = Order::below(task.jobs);
    let parts = orders.chunks(task.jobs.div_ceil(S::FILLERS));
    try_join_all(parts.map(async |part| {
        let mut producer = S::connect(&task.url, task.settings).await?;
        S::enqueue_all(&mut producer, part.to_vec()).await
    }))
    .await?;
    are_left::<S>(&task.url, task.jobs).await
}

async fn drain<S: System>(task: &Task) -> anyhow::Result<Found> {
    let begun = Begun::expect(task.jobs);
    let mut memory = 0.0_f64;
    let started = Instant::now();
    let _worker = S::start(&task.url, task.settings).await?;
    let took = loop {
        tokio::time::sleep(Duration::from_millis(2)).await;
        memory = memory.max(megabytes());
        // What was asked for when nothing was left any more is the end; the answer may take its time.
        let asked = started.elapsed();
        if begun.count() == task.jobs && S::left(&task.url).await? == 0 {
            break asked;
        }
        if asked > PATIENCE {
            anyhow::ensure!(
                begun.count() < task.jobs,
                "all jobs ran, but some are not done"
            );
            break asked;
        }
    };
    report::note(&format!(
        "    first began after {:.3?}, last after {:.3?}, done after {took:.3?}",
        begun.first(started),
        begun.last(started)
    ));
    Ok(Found {
        remark: remark(begun, task.jobs, took),
        ..Found::figures([rate(begun.count(), took)?, memory])
    })
}

/// Tells what a drain left over, and what it did twice.
fn remark(begun: &Begun, jobs: usize, took: Duration) -> Option<String> {
    let (count, repeated) = (begun.count(), begun.repeated());
    let left = format!("ran {count} of {jobs} jobs in {} s", took.as_secs());
    let twice = format!("ran {repeated} of {count} jobs once more");
    let remarks = [(count < jobs, left), (repeated > 0, twice)];
    let remarks: Vec<String> = remarks
        .into_iter()
        .filter(|(is_so, _)| *is_so)
        .map(|(_, remark)| remark)
        .collect();
    (!remarks.is_empty()).then(|| remarks.join(", "))
}

async fn latency<S: System>(task: &Task) -> anyhow::Result<Found> {
    let jobs = WARM_UP + WAKE_UPS;
    let begun = Begun::expect(jobs);
    let _worker = S::start(&task.url, task.settings).await?;
    let mut producer = S::connect(&task.url, task.settings).await?;
    let mut calls = Vec::with_capacity(jobs);
    for number in 0..jobs {
        tokio::time::sleep(PAUSE).await;
        calls.push(Instant::now());
        S::enqueue(&mut producer, Order::numbered(number)).await?;
    }
    let last = Instant::now();
    while begun.count() < jobs && last.elapsed() < PATIENCE {
        tokio::time::sleep(PAUSE).await;
    }
    let measured = calls.iter().enumerate().skip(WARM_UP);
    let mut waits: Vec<Duration> = measured
        .map(|(number, call)| begun.after(*call, number))
        .collect();
    waits.sort_unstable();
    let percentile = |percent: usize| waits[waits.len() * percent / 100].as_secs_f64() * 1e3;
    let waiting = jobs - begun.count();
    let remark = format!(
        "{waiting} of {jobs} jobs had not begun in the end, so these are the least that it can be"
    );
    Ok(Found {
        remark: (waiting > 0).then_some(remark),
        ..Found::figures([percentile(50), percentile(99)])
    })
}

async fn single<S: System>(task: &Task, connections: usize) -> anyhow::Result<Found> {
    let (enqueued, took) = produce::<S>(task, connections, ENQUEUES).await?;
    are_left::<S>(&task.url, enqueued).await?;
    Ok(Found::figures([rate(enqueued, took)?]))
}

async fn bulk<S: System>(task: &Task) -> anyhow::Result<Found> {
    let mut producer = S::connect(&task.url, task.settings).await?;
    let orders = Order::below(task.jobs);
    let started = Instant::now();
    S::enqueue_all(&mut producer, orders).await?;
    let took = started.elapsed();
    are_left::<S>(&task.url, task.jobs).await?;
    Ok(Found::figures([rate(task.jobs, took)?]))
}

async fn mixed<S: System>(task: &Task) -> anyhow::Result<Found> {
    let begun = Begun::expect(MANY);
    let _worker = S::start(&task.url, task.settings).await?;
    let (enqueued, took) = produce::<S>(task, PRODUCERS, MIXED).await?;
    let worked = begun.count();
    Ok(Found {
        remark: Some(format!(
            "{} of {enqueued} jobs were left at the end",
            enqueued.saturating_sub(worked)
        )),
        ..Found::figures([rate(worked, took)?])
    })
}

/// Enqueues one job a call on so many connections for some time; gives how many in which time.
async fn produce<S: System>(
    task: &Task,
    connections: usize,
    length: Duration,
) -> anyhow::Result<(usize, Duration)> {
    let producers = (0..connections).map(|_| S::connect(&task.url, task.settings));
    let producers = try_join_all(producers).await?;
    let started = Instant::now();
    let enqueues = producers
        .into_iter()
        .enumerate()
        .map(async |(first, mut producer)| {
            let mut numbers = (first..MANY).step_by(connections);
            let mut enqueued = 0;
            while started.elapsed() < length {
                let number = numbers.next().context("there are no orders left")?;
                S::enqueue(&mut producer, Order::numbered(number)).await?;
                enqueued += 1;
            }
            anyhow::Ok(enqueued)
        });
    let enqueued = try_join_all(enqueues).await?;
    Ok((enqueued.into_iter().sum(), started.elapsed()))
}

/// What was not stored was quick.
async fn are_left<S: System>(url: &str, expected: usize) -> anyhow::Result<()> {
    let stored = usize::try_from(S::left(url).await?)?;
    anyhow::ensure!(stored == expected, "{stored} of {expected} jobs are stored");
    Ok(())
}

fn rate(count: usize, length: Duration) -> anyhow::Result<f64> {
    Ok(report::a_second(i32::try_from(count)?, length))
}

#[expect(clippy::cast_precision_loss, reason = "it is rounded when it is shown")]
fn megabytes() -> f64 {
    processor::resident().map_or(f64::NAN, |bytes| bytes as f64 / 1e6)
}
