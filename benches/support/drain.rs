//! Drains by workers in processes of their own: this program, started again. So what one drain takes of processor and memory
//! is its own, and several can run at once.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, SystemTime};

use anyhow::Context as _;
use pgqueue_core::Worker;
use serde::{Deserialize, Serialize};

use super::report::{a_second, microseconds_each};
use super::{median, processor, work};

/// The argument of a worker's process; the URL and the settings follow.
const PROCESS: &str = "--drain";

/// How a worker is set; what is `None` or empty is left as it is by default.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// Jobs that may run at once.
    pub concurrency: Option<usize>,
    /// Jobs that a statement may claim or end.
    pub batch: Option<usize>,
    /// Completed jobs are deleted at once.
    pub deletes: bool,
    /// The queues that are served, each as wide as the worker.
    pub queues: Vec<String>,
}

/// What a drain took.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Drained {
    /// The worker's start and its end, by the clock that all processes share.
    started: SystemTime,
    ended: SystemTime,
    /// Of the process, connecting included.
    processor: Option<Duration>,
    /// The most memory that the process held, in bytes.
    memory: Option<u64>,
}

impl Drained {
    /// Gives the most memory in megabytes.
    fn megabytes(&self) -> Option<f64> {
        let kilobytes = u32::try_from(self.memory? / 1000).ok()?;
        Some(f64::from(kilobytes) / 1e3)
    }
}

/// A worker's process that has been started.
#[derive(Debug)]
struct Process(Child);

impl Process {
    /// Starts a worker that drains what is due.
    fn start(url: &str, settings: &Settings) -> anyhow::Result<Self> {
        let child = Command::new(std::env::current_exe()?)
            .args([PROCESS, url, &serde_json::to_string(settings)?])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()?;
        Ok(Self(child))
    }

    /// Waits until it has drained.
    fn wait(self) -> anyhow::Result<Drained> {
        let output = self.0.wait_with_output()?;
        anyhow::ensure!(output.status.success(), "a worker process failed");
        serde_json::from_slice(&output.stdout).context("a worker process said something else")
    }
}

/// What the drain of a backlog took.
#[derive(Debug, Clone, Copy)]
pub struct Measured {
    /// Jobs a second.
    pub rate: f64,
    /// Microseconds of processor time a job, of all workers.
    pub client: Option<f64>,
    /// The same of the server.
    pub server: Option<f64>,
    /// Of the worker that held most.
    pub megabytes: Option<f64>,
}

impl Measured {
    /// Gives a figure of each of some drains, as far as it is known.
    #[must_use]
    pub fn each(measured: &[Self], figure: fn(&Self) -> Option<f64>) -> Vec<f64> {
        measured.iter().filter_map(figure).collect()
    }

    /// Gives the processor time a job, as a row of the report tells it beside the rate.
    #[must_use]
    pub fn processor_time(measured: &[Self]) -> Vec<(&'static str, f64)> {
        let of = |figure| median(&Self::each(measured, figure));
        vec![
            ("client, µs of processor time a job", of(|of| of.client)),
            ("server, µs of processor time a job", of(|of| of.server)),
        ]
    }
}

/// Drains so many jobs by so many workers at once.
///
/// # Errors
/// When a worker cannot start or fails.
pub fn measure(
    url: &str,
    jobs: i32,
    settings: &Settings,
    processes: usize,
) -> anyhow::Result<Measured> {
    let before = processor::of_server(url);
    let workers: Vec<Process> = (0..processes)
        .map(|_| Process::start(url, settings))
        .collect::<anyhow::Result<_>>()?;
    let drained: Vec<Drained> = workers
        .into_iter()
        .map(Process::wait)
        .collect::<anyhow::Result<_>>()?;
    // From the first worker's start to the last one's end.
    let started = drained.iter().map(|drained| drained.started).min();
    let ended = drained.iter().map(|drained| drained.ended).max();
    let (started, ended) = started.zip(ended).context("no worker was started")?;
    let took = ended.duration_since(started)?;
    let client = drained.iter().map(|drained| drained.processor).sum();
    Ok(Measured {
        rate: a_second(jobs, took),
        client: microseconds_each(jobs, Some(Duration::ZERO), client),
        server: microseconds_each(jobs, before, processor::of_server(url)),
        megabytes: drained
            .iter()
            .filter_map(Drained::megabytes)
            .max_by(f64::total_cmp),
    })
}

/// Drains and says what it took, if this process was started for that. Every benchmark that starts processes calls it first.
///
/// # Errors
/// When the worker cannot start.
pub async fn serve() -> anyhow::Result<bool> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [name, url, settings] = args.as_slice() else {
        return Ok(false);
    };
    if name != PROCESS {
        return Ok(false);
    }
    let started = SystemTime::now();
    let took = run(url, &serde_json::from_str(settings)?).await?;
    tell(Drained {
        started,
        ended: started + took,
        processor: processor::of_this_process(),
        memory: processor::most_resident(),
    })
}

#[expect(
    clippy::print_stdout,
    reason = "the process that started this one reads it"
)]
fn tell(drained: Drained) -> anyhow::Result<bool> {
    println!("{}", serde_json::to_string(&drained)?);
    Ok(true)
}

async fn run(url: &str, settings: &Settings) -> anyhow::Result<Duration> {
    let mut builder = Worker::builder(url);
    if let Some(concurrency) = settings.concurrency {
        builder = builder.concurrency(concurrency);
    }
    if let Some(batch) = settings.batch {
        builder = builder.batch(batch);
    }
    if settings.deletes {
        builder = builder.completed_retention(Duration::ZERO);
    }
    for queue in &settings.queues {
        let width = settings.concurrency.unwrap_or(10); // a worker's own default
        builder = builder.queue(queue.as_str(), width);
    }
    work::drain(builder).await
}
