//! Who works, who seems to have died, and what each runs.

use std::sync::Arc;

use actix_web::{HttpResponse, web};
use askama::Template;
use futures_util::FutureExt as _;
use pgqueue_core::workers::{self, WORKERS_LIMIT, WorkerJob, WorkerStats};

use crate::frame::{Frame, Section};
use crate::problem::Problem;
use crate::visit::Visit;

/// Most jobs of a worker that its page lists.
const JOBS: i64 = 50;

#[derive(Template)]
#[template(path = "workers.html")]
struct Workers {
    frame: Frame,
    workers: Arc<Vec<WorkerStats>>,
    stale: usize,
    versions: Vec<String>,
    cut: bool,
}

#[derive(Template)]
#[template(path = "worker.html")]
struct Worker {
    frame: Frame,
    worker: WorkerStats,
    jobs: Vec<WorkerJob>,
}

/// `GET /workers`
pub(crate) async fn index(visit: Visit) -> Result<HttpResponse, Problem> {
    let operations = &visit.dashboard.inner.operations;
    let workers = operations.workers(visit.database()).await?;
    let live = workers.iter().filter(|worker| worker.live);
    let mut versions: Vec<String> = live.clone().map(|worker| worker.version.clone()).collect();
    versions.sort_unstable();
    versions.dedup();
    visit.page(&Workers {
        frame: visit.frame(Section::Workers, "Workers"),
        stale: workers.len() - live.count(),
        cut: i64::try_from(workers.len()).is_ok_and(|count| count >= WORKERS_LIMIT),
        versions,
        workers,
    })
}

/// `GET /workers/{id}`
pub(crate) async fn show(visit: Visit, id: web::Path<i64>) -> Result<HttpResponse, Problem> {
    let (worker, jobs) = find(&visit, *id).await?;
    let title = format!("Worker {}", worker.name);
    visit.page(&Worker {
        frame: visit.frame(Section::Workers, title),
        worker,
        jobs,
    })
}

/// Finds a worker with what it runs.
pub(crate) async fn find(visit: &Visit, id: i64) -> Result<(WorkerStats, Vec<WorkerJob>), Problem> {
    let found = visit.database().read(move |conn| {
        async move {
            let worker = workers::find_async(conn, id).await?;
            Ok((worker, workers::jobs_async(conn, id, JOBS).await?))
        }
        .boxed()
    });
    let (worker, jobs) = found.await?;
    let worker = worker.ok_or_else(|| {
        Problem::not_found(
            format!("no worker {id} is registered"),
            "it has ended, or its lease ran out and the others removed it: see the list of workers",
        )
    })?;
    Ok((worker, jobs))
}
