//! What programs read.

use actix_web::{HttpResponse, web};
use chrono::{TimeDelta, Utc};
use futures_util::FutureExt as _;
use pgqueue_core::stats::{self, Count, Histogram, KindStats, QueueStats};
use pgqueue_core::workers::{WorkerJob, WorkerStats};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::pages::{audit, workers};
use crate::problem::Problem;
use crate::visit::Visit;

/// Longest span of statistics.
const HOURS: u32 = 24 * 30;

pub(super) fn answer(value: &Value) -> HttpResponse {
    HttpResponse::Ok().json(value)
}

/// `GET /api/v1/queues`
pub(crate) async fn queues(visit: Visit) -> Result<HttpResponse, Problem> {
    let snapshot = visit.dashboard.inner.live.snapshot().await?;
    let queues: Vec<Value> = snapshot.queues.iter().map(queue).collect();
    Ok(answer(&json!({
        "at": snapshot.at,
        "counted_at": snapshot.counted_at,
        "queues": queues,
    })))
}

fn count(count: Count) -> Value {
    json!({ "at_least": count.at_least, "exact": count.exact })
}

fn queue(queue: &QueueStats) -> Value {
    json!({
        "queue": queue.queue,
        "paused_at": queue.paused_at,
        "pending": count(queue.pending),
        "running": count(queue.running),
        "completed": count(queue.completed),
        "cancelled": count(queue.cancelled),
        "dead": count(queue.dead),
        "oldest_due_seconds": queue.oldest_due.map(|age| age.as_secs_f64()),
        "workers": queue.workers,
    })
}

/// The span of statistics.
#[derive(Debug, Deserialize)]
pub(crate) struct Span {
    hours: Option<u32>,
}

/// `GET /api/v1/kinds`
pub(crate) async fn kinds(visit: Visit, span: web::Query<Span>) -> Result<HttpResponse, Problem> {
    let hours = span.hours.unwrap_or(1);
    if hours == 0 || hours > HOURS {
        let detail = format!("hours is {hours}");
        return Err(Problem::invalid(detail, format!("choose 1 to {HOURS}")));
    }
    let to = Utc::now();
    let from = to - TimeDelta::hours(i64::from(hours));
    let read = visit
        .database()
        .read(move |conn| stats::kinds_async(conn, from, to).boxed());
    let kinds: Vec<Value> = read.await?.iter().map(kind).collect();
    Ok(answer(&json!({ "from": from, "to": to, "kinds": kinds })))
}

fn kind(kind: &KindStats) -> Value {
    json!({
        "queue": kind.queue,
        "kind": kind.kind,
        "completed": kind.completed,
        "failed": kind.failed,
        "dead": kind.dead,
        "cancelled": kind.cancelled,
        "snoozed": kind.snoozed,
        "lost": kind.lost,
        "run_ms": percentiles(&kind.run),
        "wait_ms": percentiles(&kind.wait),
    })
}

/// Upper bounds, right to a factor of two.
pub(super) fn percentiles(histogram: &Histogram) -> Value {
    let bound = |share| {
        histogram
            .percentile(share)
            .map(|bound| bound.as_secs_f64() * 1000.0)
    };
    json!({ "p50": bound(0.5), "p95": bound(0.95), "p99": bound(0.99) })
}

/// `GET /api/v1/workers`
pub(crate) async fn workers(visit: Visit) -> Result<HttpResponse, Problem> {
    let operations = &visit.dashboard.inner.operations;
    let workers = operations.workers(visit.database()).await?;
    let workers: Vec<Value> = workers.iter().map(worker).collect();
    Ok(answer(&json!({ "workers": workers })))
}

/// `GET /api/v1/workers/{id}`
pub(crate) async fn one_worker(visit: Visit, id: web::Path<i64>) -> Result<HttpResponse, Problem> {
    let (found, jobs) = workers::find(&visit, *id).await?;
    let jobs: Vec<Value> = jobs.iter().map(worker_job).collect();
    Ok(answer(&json!({ "worker": worker(&found), "jobs": jobs })))
}

fn worker(worker: &WorkerStats) -> Value {
    let queues = worker.queues.iter();
    let queues = queues.map(|(queue, slots)| json!({ "queue": queue, "concurrency": slots }));
    json!({
        "id": worker.id,
        "name": worker.name,
        "host": worker.host,
        "pid": worker.pid,
        "version": worker.version,
        "queues": queues.collect::<Vec<_>>(),
        "kinds": worker.kinds,
        "started_at": worker.started_at,
        "expires_at": worker.expires_at,
        "live": worker.live,
        "running": count(worker.running),
        "oldest_run": worker.oldest_run,
    })
}

fn worker_job(job: &WorkerJob) -> Value {
    json!({
        "id": job.id,
        "queue": job.queue,
        "kind": job.kind,
        "attempt": job.attempt,
        "started_at": job.started_at,
        "deadline_at": job.deadline_at,
        "cancel_requested_at": job.cancel_requested_at,
    })
}

/// `GET /api/v1/audit`
pub(crate) async fn audit(
    visit: Visit,
    wanted: web::Query<audit::Wanted>,
) -> Result<HttpResponse, Problem> {
    let page = audit::read(&visit, &wanted).await?;
    let path = format!("{}/api/v1/audit", visit.base);
    let next = page.next.map(|before| wanted.further(&path, before));
    Ok(answer(
        &json!({ "entries": page.entries, "looked_at": page.looked_at, "next": next }),
    ))
}

/// `GET /api/v1/postgres`
pub(crate) async fn postgres(visit: Visit) -> Result<HttpResponse, Problem> {
    let operations = &visit.dashboard.inner.operations;
    let report = operations.report(visit.database()).await?;
    Ok(HttpResponse::Ok().json(&*report))
}
