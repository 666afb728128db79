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

/// When each job was enqueued, and how long it took to begin.
#[derive(Debug, Clone, Default)]
pub struct Times(Arc<Mutex<Noted>>);

#[derive(Debug, Default)]
struct Noted {
    enqueued: Vec<Instant>,
    /// In milliseconds, the warm-up left out.
    took: Vec<f64>,
}

impl Times {
    /// Notes that the next job is being enqueued, and gives its payload.
    #[must_use]
    pub fn enqueued(&self) -> Value {
        let mut noted = self.lock();
        noted.enqueued.push(Instant::now());
        json!({ "number": noted.enqueued.len() - 1 })
    }

    /// Notes that the job with this payload has begun.
    pub fn begun(&self, payload: &Value) {
        let now = Instant::now();
        let number = payload["number"].as_u64().unwrap_or_default();
        let number = usize::try_from(number).unwrap_or_default();
        let mut noted = self.lock();
        let took = now.duration_since(noted.enqueued[number]).as_secs_f64() * 1e3;
        if number >= WARM_UP {
            noted.took.push(took);
        }
    }

    /// Gives the milliseconds that each job took.
    #[must_use]
    pub fn all(&self) -> Vec<f64> {
        self.lock().took.clone()
    }

    /// Gives the milliseconds that so many per cent of the jobs took at most.
    #[must_use]
    pub fn percentile(&self, percent: usize) -> f64 {
        let mut took = self.all();
        took.sort_by(f64::total_cmp);
        took[(took.len() * percent / 100).min(took.len() - 1)]
    }

    /// Waits until so many jobs have begun beside the warm-up.
    pub async fn wait_for(&self, jobs: usize) {
        while self.lock().took.len() < jobs {
            tokio::time::sleep(PAUSE).await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Noted> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
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
    }
    times.wait_for(jobs).await;
    handle.stop();
    working.await??;
    Ok(times)
}
