//! What programs do.

use actix_web::{HttpResponse, web};
use chrono::{DateTime, Utc};
use futures_util::FutureExt as _;
use pgqueue_core::JobState;
use pgqueue_core::admin::{self, Action, Done, Filter, SkipReason};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::pages::job_actions::{self, given};
use crate::problem::Problem;
use crate::visit::Visit;

/// Most jobs that are named.
const IDS: usize = 1000;

/// Which jobs, and why: all that is set must hold.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Order {
    ids: Option<Vec<i64>>,
    state: Option<String>,
    queue: Option<String>,
    kind: Option<String>,
    error_contains: Option<String>,
    created_before: Option<DateTime<Utc>>,
    finished_before: Option<DateTime<Utc>>,
    /// Must be said when no condition is set.
    #[serde(default)]
    all: bool,
    reason: Option<String>,
}

impl Order {
    fn filter(&self) -> Result<Filter, Problem> {
        let mut filter = Filter::new();
        let nothing = filter.clone();
        if let Some(ids) = &self.ids {
            if ids.is_empty() || ids.len() > IDS {
                let detail = format!("ids names {} jobs", ids.len());
                return Err(Problem::invalid(
                    detail,
                    "name 1 to 1000 jobs, or send a filter",
                ));
            }
            filter = filter.ids(ids.iter().copied());
        }
        if let Some(state) = &self.state {
            let state: JobState = state.parse().map_err(|_| {
                let advice = "use pending, running, completed, cancelled or dead";
                Problem::invalid(format!("{state:?} is no state"), advice)
            })?;
            filter = filter.state(state);
        }
        if let Some(queue) = &self.queue {
            filter = filter.queue(queue);
        }
        if let Some(kind) = &self.kind {
            filter = filter.kind(kind);
        }
        if let Some(text) = &self.error_contains {
            filter = filter.error_contains(text);
        }
        if let Some(at) = self.created_before {
            filter = filter.created_before(at);
        }
        if let Some(at) = self.finished_before {
            filter = filter.finished_before(at);
        }
        if filter == nothing && !self.all {
            let advice =
                "send ids or a condition; to mean every job of the action, send \"all\": true";
            return Err(Problem::invalid("no condition is set", advice));
        }
        Ok(filter)
    }
}

async fn act(
    visit: Visit,
    order: Order,
    action: fn(Filter) -> Action,
) -> Result<HttpResponse, Problem> {
    let action = action(order.filter()?);
    let done = job_actions::act(&visit, action, order.reason.as_deref()).await?;
    Ok(HttpResponse::Ok().json(told(&done)))
}

fn told(done: &Done) -> Value {
    let skipped = done.skipped.iter().map(|skipped| {
        let reason = match skipped.reason {
            SkipReason::Missing => "missing",
            SkipReason::State => "state",
            SkipReason::Busy => "busy",
            SkipReason::Conflict => "conflict",
            _ => "other",
        };
        json!({ "id": skipped.id, "reason": reason })
    });
    json!({
        "changed": done.changed,
        "requested": done.requested,
        "skipped": skipped.collect::<Vec<_>>(),
    })
}

/// `POST /api/v1/jobs/requeue`
pub(crate) async fn requeue(
    visit: Visit,
    order: web::Json<Order>,
) -> Result<HttpResponse, Problem> {
    act(visit, order.into_inner(), admin::requeue).await
}

/// `POST /api/v1/jobs/run-now`
pub(crate) async fn run_now(
    visit: Visit,
    order: web::Json<Order>,
) -> Result<HttpResponse, Problem> {
    act(visit, order.into_inner(), admin::run_now).await
}

/// `POST /api/v1/jobs/cancel`
pub(crate) async fn cancel(visit: Visit, order: web::Json<Order>) -> Result<HttpResponse, Problem> {
    act(visit, order.into_inner(), admin::cancel).await
}

/// `POST /api/v1/jobs/purge`
pub(crate) async fn purge(visit: Visit, order: web::Json<Order>) -> Result<HttpResponse, Problem> {
    act(visit, order.into_inner(), admin::purge).await
}

/// Why something is done.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Said {
    reason: Option<String>,
}

impl Said {
    /// Gives it as it was sent.
    pub(super) fn reason(&self) -> Option<&str> {
        self.reason.as_deref()
    }
}

async fn act_on_queue(
    visit: Visit,
    mut action: admin::QueueAction,
    said: &Said,
) -> Result<HttpResponse, Problem> {
    action = action.by(visit.access.actor());
    if let Some(reason) = given(said.reason()) {
        action = action.because(reason);
    }
    let changed = visit
        .database()
        .write(move |conn| async move { action.run_async(conn).await }.boxed())
        .await?;
    Ok(HttpResponse::Ok().json(json!({ "changed": changed })))
}

/// `POST /api/v1/queues/{queue}/pause`
pub(crate) async fn pause(
    visit: Visit,
    queue: web::Path<String>,
    said: web::Json<Said>,
) -> Result<HttpResponse, Problem> {
    act_on_queue(visit, admin::pause(queue.into_inner()), &said).await
}

/// `POST /api/v1/queues/{queue}/resume`
pub(crate) async fn resume(
    visit: Visit,
    queue: web::Path<String>,
    said: web::Json<Said>,
) -> Result<HttpResponse, Problem> {
    act_on_queue(visit, admin::resume(queue.into_inner()), &said).await
}
