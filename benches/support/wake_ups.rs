//! Wake-ups: jobs that are enqueued one at a time for a worker that has nothing else to do, and how soon each begins.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use diesel_async::{AsyncConnection as _, AsyncPgConnection};
use pgqueue_core::{NewJob, RawJob, Worker};
use serde_json::{Value, json};

/// Between two jobs.
pub const PAUSE: Duration = Duration::from_millis(25);
/// What is enqueued before anything is measured: connections are made, statements prepared.
pub const WARM_UP: usize = 20;

/// When each job was enqueued, and when it began.
#[derive(Debug, Clone, Default)]
pub struct Times(Arc<Mutex<Noted>>);

#[derive(Debug, Default)]
struct Noted {
    /// The enqueue was called …
    called: Vec<Instant>,
    /// … and had returned.
    returned: Vec<Instant>,
    /// By the job's number, the warm-up left out.
    begun: Vec<(usize, Instant)>,
}

impl Noted {
    fn since(&self, starts: &[Instant]) -> Vec<f64> {
        let took = |&(number, at): &(usize, Instant)| at.saturating_duration_since(starts[number]);
        let milliseconds = |job| took(job).as_secs_f64() * 1e3;
        self.begun.iter().map(milliseconds).collect()
    }
}

impl Times {
    /// Notes that the next job is being enqueued, and gives its payload.
    #[must_use]
    pub fn enqueued(&self) -> Value {
        let mut noted = self.lock();
        noted.called.push(Instant::now());
        json!({ "number": noted.called.len() - 1 })
    }

    /// Notes that its enqueue has returned: it is committed.
    fn returned(&self) {
        self.lock().returned.push(Instant::now());
    }

    /// Notes that the job with this payload has begun.
    pub fn begun(&self, payload: &Value) {
        let now = Instant::now();
        let number = payload["number"].as_u64().unwrap_or_default();
        let number = usize::try_from(number).unwrap_or_default();
        if number >= WARM_UP {
            self.lock().begun.push((number, now));
        }
    }

    /// Gives the milliseconds from the call of each job's enqueue to its start.
    #[must_use]
    pub fn all(&self) -> Vec<f64> {
        let noted = self.lock();
        noted.since(&noted.called)
    }

    /// Gives the milliseconds that so many per cent of the jobs took at most.
    #[must_use]
    pub fn percentile(&self, percent: usize) -> f64 {
        percentile(self.all(), percent)
    }

    /// Gives the milliseconds from a return of the enqueue to the job's start that half of the jobs took at most: the
    /// notification's way and the claim. Of jobs that began before that it is zero.
    #[must_use]
    pub fn median_after_return(&self) -> f64 {
        let noted = self.lock();
        percentile(noted.since(&noted.returned), 50)
    }

    /// Waits until so many jobs have begun beside the warm-up.
    pub async fn wait_for(&self, jobs: usize) {
        while self.lock().begun.len() < jobs {
            tokio::time::sleep(PAUSE).await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Noted> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn percentile(mut took: Vec<f64>, percent: usize) -> f64 {
    took.sort_by(f64::total_cmp);
    took[(took.len() * percent / 100).min(took.len() - 1)]
}

/// Measures so many wake-ups of a worker with default settings.
///
/// # Errors
/// When the worker cannot start, and what the server refuses.
pub async fn measure(url: &str, jobs: usize) -> anyhow::Result<Times> {
    let times = Times::default();
    let noted = times.clone();
    let worker = Worker::builder(url)
        .handle_kind("noop", move |job: RawJob, _ctx| {
            noted.begun(&job.payload);
            std::future::ready(Ok::<_, String>(()))
        })
        .build()?;
    let handle = worker.handle();
    let working = tokio::spawn(worker.run(std::future::pending::<()>()));
    let mut conn = AsyncPgConnection::establish(url).await?;
    for _ in 0..WARM_UP + jobs {
        tokio::time::sleep(PAUSE).await;
        NewJob::new("noop", times.enqueued())
            .enqueue_async(&mut conn)
            .await?;
        times.returned();
    }
    times.wait_for(jobs).await;
    handle.stop();
    working.await??;
    Ok(times)
}
