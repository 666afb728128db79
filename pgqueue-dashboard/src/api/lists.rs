//! Lists of jobs and of causes of death, for programs. A filter is the text that the search field of the site takes.

use actix_web::{HttpResponse, web};
use chrono::Utc;
use futures_util::FutureExt as _;
use pgqueue_core::admin::{self, Cursor, Summary};
use pgqueue_core::stats::CauseStats;
use serde::Deserialize;
use serde_json::{Value, json};

use super::read::answer;
use crate::access::Permissions;
use crate::pages::bulk::terms;
use crate::pages::dead;
use crate::problem::Problem;
use crate::visit::Visit;

/// What is told of a payload in a list, in bytes.
const PAYLOAD_START: usize = 400;

/// The query of a list of jobs.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
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
    let jobs: Vec<Value> = page.jobs.iter().map(|job| summary(&visit, job)).collect();
    Ok(answer(&json!({
        "jobs": jobs,
        "looked_at": page.visited,
        "older": page.older.map(|cursor| cursor.to_string()),
        "newer": page.newer.map(|cursor| cursor.to_string()),
    })))
}

/// Tells what a list tells of a job; the start of its payload to who may see it, without secrets.
pub(super) fn summary(visit: &Visit, job: &Summary) -> Value {
    let redaction = &visit.dashboard.inner.redaction;
    let start = || redaction.compact(&job.payload_start, PAYLOAD_START).text;
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
        "payload_start": visit.may(Permissions::VIEW_PAYLOAD).then(start),
    })
}

/// `GET /api/v1/causes`
pub(crate) async fn causes(visit: Visit) -> Result<HttpResponse, Problem> {
    let found = visit.dashboard.inner.live.causes().await?;
    let causes: Vec<Value> = found.all.iter().map(cause).collect();
    Ok(answer(&json!({ "at": found.at, "causes": causes })))
}

/// `GET /api/v1/causes/{cause}`
pub(crate) async fn one_cause(
    visit: Visit,
    number: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    let (stats, message, jobs) = dead::told(&visit, &number).await?;
    let jobs: Vec<Value> = jobs.iter().map(|job| summary(&visit, job)).collect();
    Ok(answer(
        &json!({ "cause": cause(&stats), "message": message, "jobs": jobs }),
    ))
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
