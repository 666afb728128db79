//! Durable operations, for programs: their preview, start and control. A filter is the text that the search field of the
//! site takes.

use actix_web::{HttpResponse, web};
use chrono::{DateTime, Utc};
use pgqueue_core::admin::{Control, Plan};
use pgqueue_core::stats::Count;
use serde::Deserialize;
use serde_json::json;

use super::lists::summary;
use super::read::answer;
use crate::pages::bulk::{self, Verb, terms};
use crate::pages::operations;
use crate::problem::Problem;
use crate::visit::Visit;

/// Operations an answer.
const OPERATIONS: i64 = 100;

/// `GET /api/v1/operations`
pub(crate) async fn list(
    visit: Visit,
    turned: web::Query<operations::Turned>,
) -> Result<HttpResponse, Problem> {
    let (found, before) = operations::list(&visit, turned.before, OPERATIONS).await?;
    Ok(answer(&json!({ "operations": found, "before": before })))
}

/// `GET /api/v1/operations/{id}`
pub(crate) async fn show(visit: Visit, id: web::Path<i64>) -> Result<HttpResponse, Problem> {
    let operation = operations::found(&visit, *id).await?;
    let became = operations::became(&visit, &operation).await?;
    let mut told = json!(operation);
    told["became"] = json!(became);
    Ok(answer(&told))
}

/// The query of a preview.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Asked {
    action: String,
    #[serde(default)]
    filter: String,
}

/// `GET /api/v1/operations/preview`
pub(crate) async fn preview(
    visit: Visit,
    asked: web::Query<Asked>,
) -> Result<HttpResponse, Problem> {
    let verb = Verb::parse(&asked.action)?;
    let terms = terms(&visit, &asked.filter)?;
    let (preview, sample) = bulk::look_ahead(&visit, verb, &terms).await?;
    let sample = sample.iter().map(|job| summary(&visit, job));
    Ok(answer(&json!({
        "action": verb.name(),
        "filter": terms.to_string(),
        "cutoff": preview.cutoff,
        "jobs": preview.jobs,
        "conflicts": preview.conflicts,
        "effect": verb.effect(),
        "needs": verb.needs().name(),
        "sample": sample.collect::<Vec<_>>(),
    })))
}

/// What an operation is for, and how it goes about it. `cutoff` and `jobs` are those of a preview.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Order {
    filter: String,
    cutoff: Option<DateTime<Utc>>,
    jobs: Option<Previewed>,
    reason: Option<String>,
    rate: Option<i32>,
    canary: Option<i32>,
}

/// How many jobs a preview told.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Previewed {
    at_least: i64,
    exact: bool,
}

impl Order {
    /// Keeps to a preview, if the order names one.
    fn plan(&self) -> Result<Plan, Problem> {
        let plan = match (self.cutoff, self.jobs) {
            (None, None) => Plan::default(),
            (Some(cutoff), Some(jobs)) if jobs.at_least >= 0 => Plan::since(
                cutoff.min(Utc::now()),
                Count {
                    at_least: jobs.at_least,
                    exact: jobs.exact,
                },
            ),
            _ => {
                return Err(Problem::invalid(
                    "the order has one of cutoff and jobs without the other, or fewer than 0 jobs",
                    "send both as a preview gave them, or neither",
                ));
            }
        };
        Ok(plan.rate(self.rate).canary(self.canary))
    }
}

/// `POST /api/v1/operations/requeue`
pub(crate) async fn requeue(
    visit: Visit,
    order: web::Json<Order>,
) -> Result<HttpResponse, Problem> {
    start(&visit, Verb::Requeue, &order).await
}

/// `POST /api/v1/operations/run-now`
pub(crate) async fn run_now(
    visit: Visit,
    order: web::Json<Order>,
) -> Result<HttpResponse, Problem> {
    start(&visit, Verb::RunNow, &order).await
}

/// `POST /api/v1/operations/cancel`
pub(crate) async fn cancel(visit: Visit, order: web::Json<Order>) -> Result<HttpResponse, Problem> {
    start(&visit, Verb::Cancel, &order).await
}

/// `POST /api/v1/operations/purge`
pub(crate) async fn purge(visit: Visit, order: web::Json<Order>) -> Result<HttpResponse, Problem> {
    start(&visit, Verb::Purge, &order).await
}

async fn start(visit: &Visit, verb: Verb, order: &Order) -> Result<HttpResponse, Problem> {
    let terms = terms(visit, &order.filter)?;
    if terms.is_empty() {
        return Err(Problem::invalid(
            "the filter is empty",
            "name at least a state, such as state:dead",
        ));
    }
    let plan = order.plan()?;
    // `finished<1h` means an hour before what was shown.
    let now = plan
        .preview
        .as_ref()
        .map_or_else(Utc::now, |shown| shown.cutoff);
    let action = verb.action(terms.filter(now));
    let id = bulk::begin(visit, action, plan, order.reason.as_deref()).await?;
    Ok(answer(&json!({ "id": id })))
}

/// `POST /api/v1/operations/{id}/pause`
pub(crate) async fn pause(visit: Visit, id: web::Path<i64>) -> Result<HttpResponse, Problem> {
    control(visit, id, Control::Pause).await
}

/// `POST /api/v1/operations/{id}/resume`
pub(crate) async fn resume(visit: Visit, id: web::Path<i64>) -> Result<HttpResponse, Problem> {
    control(visit, id, Control::Resume).await
}

/// `POST /api/v1/operations/{id}/stop`
pub(crate) async fn stop(visit: Visit, id: web::Path<i64>) -> Result<HttpResponse, Problem> {
    control(visit, id, Control::Cancel).await
}

/// `POST /api/v1/operations/{id}/undo`
pub(crate) async fn undo(visit: Visit, id: web::Path<i64>) -> Result<HttpResponse, Problem> {
    control(visit, id, Control::Undo).await
}

/// Answers with the operation as it stands then.
async fn control(
    visit: Visit,
    id: web::Path<i64>,
    asked: Control,
) -> Result<HttpResponse, Problem> {
    operations::control(&visit, *id, asked).await?;
    show(visit, id).await
}
