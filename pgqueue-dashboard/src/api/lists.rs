//! Jobs, causes of death and bulk operations, for programs. A filter is the text that the search field of the site takes.

use actix_web::{HttpResponse, web};
use chrono::Utc;
use futures_util::FutureExt as _;
use pgqueue_core::admin::{self, Cursor, Operation, Plan, Record, Summary};
use pgqueue_core::stats::CauseStats;
use serde::Deserialize;
use serde_json::{Value, json};

use super::read::answer;
use crate::access::Permissions;
use crate::pages::bulk::{Verb, terms};
use crate::pages::operations;
use crate::problem::Problem;
use crate::reason::sentence;
use crate::visit::Visit;

/// Operations an answer.
const OPERATIONS: i64 = 100;

/// The query of a list of jobs.
#[derive(Debug, Deserialize)]
pub(crate) struct Wanted {
    #[serde(default)]
    q: String,
    size: Option<u16>,
    cursor: Option<String>,
}

/// `GET /api/v1/jobs`
pub(crate) async fn jobs(
    visit: Visit,
    wanted: web::Query<Wanted>,
) -> Result<HttpResponse, Problem> {
    let terms = terms(&visit, &wanted.q)?;
    let mut find = admin::find(terms.filter(Utc::now())).size(wanted.size.unwrap_or(50));
    if let Some(text) = &wanted.cursor {
        let cursor: Cursor = text.parse().map_err(Problem::from)?;
        find = find.at(cursor);
    }
    let read = visit
        .database()
        .read(move |conn| find.run_async(conn).boxed());
    let page = read.await?;
    let payloads = visit.may(Permissions::VIEW_PAYLOAD);
    let jobs: Vec<Value> = page.jobs.iter().map(|job| summary(job, payloads)).collect();
    Ok(answer(&json!({
        "jobs": jobs,
        "looked_at": page.visited,
        "older": page.older.map(|cursor| cursor.to_string()),
        "newer": page.newer.map(|cursor| cursor.to_string()),
    })))
}

fn summary(job: &Summary, with_payload: bool) -> Value {
    json!({
        "id": job.id,
        "state": job.state,
        "queue": job.queue,
        "kind": job.kind,
        "priority": job.priority,
        "run_at": job.run_at,
        "created_at": job.created_at,
        "started_at": job.started_at,
        "finished_at": job.finished_at,
        "cancel_requested_at": job.cancel_requested_at,
        "attempt": job.attempt,
        "max_retries": job.max_retries,
        "lost": job.lost,
        "claimed_by": job.claimed_by,
        "unique_key": job.unique_key,
        "last_error": job.last_error,
        "payload_start": with_payload.then_some(&job.payload_start),
    })
}

/// `GET /api/v1/jobs/{id}`; the payload is at `/jobs/{id}/payload.json`, with secrets hidden.
pub(crate) async fn one_job(visit: Visit, id: web::Path<i64>) -> Result<HttpResponse, Problem> {
    let id = *id;
    let read = visit.database().read(move |conn| {
        async move {
            let record = admin::job_async(conn, id).await?;
            let reasons = admin::why_async(conn, id).await?;
            Ok((record, reasons))
        }
        .boxed()
    });
    let (record, reasons) = read.await?;
    let Some(record) = record else {
        let detail = format!("there is no job {id}");
        return Err(Problem::not_found(
            detail,
            "retention or a purge may have removed it",
        ));
    };
    let now = Utc::now();
    let why: Vec<String> = reasons
        .iter()
        .map(|reason| sentence(&record, reason, now))
        .collect();
    Ok(answer(&json!({ "job": record_of(&record), "why": why })))
}

fn record_of(job: &Record) -> Value {
    let failures = job.failures();
    let failures = failures.iter().map(|failure| {
        json!({ "at": failure.at, "attempt": failure.attempt, "kind": failure.kind, "message": failure.message })
    });
    json!({
        "id": job.id,
        "state": job.state,
        "queue": job.queue,
        "kind": job.kind,
        "priority": job.priority,
        "run_at": job.run_at,
        "created_at": job.created_at,
        "started_at": job.started_at,
        "finished_at": job.finished_at,
        "deadline_at": job.deadline_at,
        "cancel_requested_at": job.cancel_requested_at,
        "attempt": job.attempt,
        "max_retries": job.max_retries,
        "lost": job.lost,
        "claimed_by": job.claimed_by,
        "unique_key": job.unique_key,
        "tags": job.tags(),
        "cloned_from": job.cloned_from(),
        "failures": failures.collect::<Vec<_>>(),
    })
}

/// `GET /api/v1/causes`
pub(crate) async fn causes(visit: Visit) -> Result<HttpResponse, Problem> {
    let found = visit.dashboard.inner.live.causes().await?;
    let causes: Vec<Value> = found.all.iter().map(cause).collect();
    Ok(answer(&json!({ "at": found.at, "causes": causes })))
}

fn cause(cause: &CauseStats) -> Value {
    json!({
        "cause": cause.cause.to_string(),
        "pattern": cause.pattern,
        "failure": cause.failure,
        "jobs": cause.jobs,
        "last_hour": cause.last_hour,
        "last_day": cause.last_day,
        "trend": cause.trend,
        "first_seen": cause.first_seen,
        "last_seen": cause.last_seen,
        "kinds": cause.kinds,
        "queues": cause.queues,
        "sample": cause.sample,
        "message": cause.message,
    })
}

/// The query of the list of operations.
#[derive(Debug, Deserialize)]
pub(crate) struct Turned {
    before: Option<i64>,
}

/// `GET /api/v1/operations`
pub(crate) async fn operations(
    visit: Visit,
    turned: web::Query<Turned>,
) -> Result<HttpResponse, Problem> {
    let before = turned.before;
    let read = visit
        .database()
        .read(move |conn| admin::operations_async(conn, before, OPERATIONS).boxed());
    let found: Vec<Operation> = read.await?;
    let full = i64::try_from(found.len()).unwrap_or(0) == OPERATIONS;
    let before = found.last().map(|last| last.id).filter(|_| full);
    Ok(answer(&json!({ "operations": found, "before": before })))
}

/// `GET /api/v1/operations/{id}`
pub(crate) async fn one_operation(
    visit: Visit,
    id: web::Path<i64>,
) -> Result<HttpResponse, Problem> {
    Ok(answer(&json!(operations::found(&visit, *id).await?)))
}

/// What an operation is for, and how it goes about it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Order {
    filter: String,
    reason: Option<String>,
    rate: Option<i32>,
    canary: Option<i32>,
}

/// `POST /api/v1/operations/requeue`
pub(crate) async fn requeue(
    visit: Visit,
    order: web::Json<Order>,
) -> Result<HttpResponse, Problem> {
    start(&visit, Verb::Requeue, order.into_inner()).await
}

/// `POST /api/v1/operations/run-now`
pub(crate) async fn run_now(
    visit: Visit,
    order: web::Json<Order>,
) -> Result<HttpResponse, Problem> {
    start(&visit, Verb::RunNow, order.into_inner()).await
}

/// `POST /api/v1/operations/cancel`
pub(crate) async fn cancel(visit: Visit, order: web::Json<Order>) -> Result<HttpResponse, Problem> {
    start(&visit, Verb::Cancel, order.into_inner()).await
}

/// `POST /api/v1/operations/purge`
pub(crate) async fn purge(visit: Visit, order: web::Json<Order>) -> Result<HttpResponse, Problem> {
    start(&visit, Verb::Purge, order.into_inner()).await
}

async fn start(visit: &Visit, verb: Verb, order: Order) -> Result<HttpResponse, Problem> {
    let terms = terms(visit, &order.filter)?;
    if terms.is_empty() {
        return Err(Problem::invalid(
            "the filter is empty",
            "name at least a state, such as state:dead",
        ));
    }
    let mut action = verb
        .action(terms.filter(Utc::now()))
        .by(visit.access.actor());
    if let Some(reason) = order.reason {
        action = action.because(reason);
    }
    let plan = Plan::default().rate(order.rate).canary(order.canary);
    let write = visit
        .database()
        .write(move |conn| action.start_async(conn, plan).boxed());
    let id = write.await?;
    visit.dashboard.inner.executor.wake();
    Ok(answer(&json!({ "id": id })))
}
