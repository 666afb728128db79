//! Durable operations: their list, and one with its progress and what can be asked of it.

use actix_web::{HttpResponse, web};
use askama::Template;
use futures_util::FutureExt as _;
use pgqueue_core::JobState;
use pgqueue_core::admin::{self, Became, Control, Operation};
use serde::Deserialize;

use super::bulk::Verb;
use crate::access::Permissions;
use crate::frame::{Frame, Section};
use crate::link;
use crate::problem::Problem;
use crate::visit::Visit;

/// Operations a page.
const PAGE: i64 = 50;

#[derive(Template)]
#[template(path = "bulk.html")]
struct Index {
    frame: Frame,
    operations: Vec<Operation>,
    older: Option<i64>,
}

/// The query of the list.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Turned {
    pub(crate) before: Option<i64>,
}

/// `GET /bulk`
pub(crate) async fn index(
    visit: Visit,
    turned: web::Query<Turned>,
) -> Result<HttpResponse, Problem> {
    let (operations, older) = list(&visit, turned.before, PAGE).await?;
    visit.page(&Index {
        frame: visit.frame(Section::Bulk, "Bulk operations"),
        older,
        operations,
    })
}

/// Reads so many operations, the newest before one, and where the next page begins if there may be one.
pub(crate) async fn list(
    visit: &Visit,
    before: Option<i64>,
    limit: i64,
) -> Result<(Vec<Operation>, Option<i64>), Problem> {
    let read = visit
        .database()
        .read(move |conn| admin::operations_async(conn, before, limit).boxed());
    let operations = read.await?.into_iter();
    let operations: Vec<Operation> = operations.map(|operation| seen(visit, operation)).collect();
    let full = i64::try_from(operations.len()).unwrap_or(0) == limit;
    let older = operations.last().map(|last| last.id).filter(|_| full);
    Ok((operations, older))
}

#[derive(Template)]
#[template(path = "bulk_operation.html")]
struct Show {
    frame: Frame,
    operation: Operation,
    conditions: Vec<(String, String)>,
    /// What became of its jobs; empty for what is no requeue, and when that is not known any more.
    became: Result<Vec<Became>, Problem>,
}

impl Show {
    /// Says what became of jobs, in which number, and where up to 100 of them are listed.
    fn fates(became: &[Became]) -> Vec<Fate> {
        became.iter().map(Fate::of).collect()
    }

    /// How many jobs these are of.
    fn looked_up(became: &[Became]) -> i64 {
        became.iter().map(|fate| fate.jobs).sum()
    }

    /// How many jobs were counted before, and did not match any more when their turn came.
    fn escaped(&self) -> i64 {
        let is_over = matches!(self.operation.state.as_str(), "finished" | "undone");
        if is_over && self.operation.expected_exactly {
            (self.operation.expected - self.moved()).max(0)
        } else {
            0
        }
    }

    fn verb(&self) -> &'static str {
        Verb::parse(&self.operation.verb).map_or("?", Verb::word)
    }

    fn may(&self) -> bool {
        let needs = Verb::parse(&self.operation.verb).map_or(Permissions::all(), Verb::needs);
        self.frame.may.contains(needs | Permissions::REQUEUE)
    }

    fn can_be_undone(&self) -> bool {
        self.operation.can_be_undone(self.frame.now)
    }

    /// What the progress is out of: as long as it is not over, a little more than what is done.
    fn maximum(&self) -> i64 {
        let rests = matches!(
            self.operation.state.as_str(),
            "finished" | "cancelled" | "undone"
        );
        let moved = self.moved().max(1);
        if rests {
            moved
        } else {
            self.operation.expected.max(moved + 1)
        }
    }

    fn moved(&self) -> i64 {
        self.operation.done + self.operation.requested + self.operation.skipped
    }
}

/// What became of some jobs.
struct Fate {
    jobs: i64,
    word: &'static str,
    path: Option<String>,
}

impl Fate {
    fn of(became: &Became) -> Self {
        let ids: Vec<String> = became.ids.iter().map(i64::to_string).collect();
        let list = format!("id:{}", ids.join(","));
        Self {
            jobs: became.jobs,
            word: match became.state {
                None => "gone",
                Some(JobState::Dead) => "dead again",
                Some(state) => state.name(),
            },
            path: became.state.map(|_| link::with("/jobs", &[("q", &list)])),
        }
    }

    /// How many of them the list has.
    fn listed(&self) -> i64 {
        self.jobs.min(100)
    }
}

/// `GET /bulk/{id}`
pub(crate) async fn show(visit: Visit, id: web::Path<i64>) -> Result<HttpResponse, Problem> {
    let operation = found(&visit, *id).await?;
    let became = became(&visit, &operation).await;
    visit.page(&Show {
        frame: visit.frame(Section::Bulk, format!("Operation {id}")),
        conditions: conditions(&visit, &operation).await,
        operation,
        became,
    })
}

/// Reads what became of the jobs of an operation; nothing for what is no requeue.
pub(crate) async fn became(visit: &Visit, operation: &Operation) -> Result<Vec<Became>, Problem> {
    if operation.verb != "requeue" {
        return Ok(Vec::new());
    }
    let id = operation.id;
    let read = visit
        .database()
        .read(move |conn| admin::became_async(conn, id).boxed());
    read.await
}

/// Lists what the jobs had to be; a cause with its message where that is known.
async fn conditions(visit: &Visit, operation: &Operation) -> Vec<(String, String)> {
    let Some(filter) = operation.filter.as_object() else {
        return Vec::new();
    };
    let mut conditions: Vec<_> = filter
        .iter()
        .map(|(name, value)| (name.clone(), written(value)))
        .collect();
    let cause = filter.get("cause").and_then(serde_json::Value::as_i64);
    if let (Some(cause), Ok(causes)) = (cause, visit.dashboard.inner.live.causes().await)
        && let Some(known) = causes.all.iter().find(|known| known.cause == cause)
        && let Some((_, shown)) = conditions.iter_mut().find(|(name, _)| name == "cause")
    {
        *shown = format!("{shown}: {}", known.pattern);
    }
    conditions
}

/// Writes a value of a filter for people.
fn written(value: &serde_json::Value) -> String {
    match value {
        serde_json::Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// Gives an operation as this visitor may see it: which payloads it was for tells what they have.
pub(crate) fn seen(visit: &Visit, mut operation: Operation) -> Operation {
    if !visit.may(Permissions::VIEW_PAYLOAD)
        && let Some(conditions) = operation.filter.get_mut("payload")
    {
        *conditions = "hidden: it takes the permission VIEW_PAYLOAD".into();
    }
    operation
}

pub(crate) async fn found(visit: &Visit, id: i64) -> Result<Operation, Problem> {
    let read = visit
        .database()
        .read(move |conn| admin::operation_async(conn, id).boxed());
    let found = read.await?.map(|operation| seen(visit, operation));
    found.ok_or_else(|| {
        Problem::not_found(
            format!("there is no operation {id}"),
            "look at the list of bulk operations",
        )
    })
}

/// `POST /bulk/{id}/pause`
pub(crate) async fn pause(visit: Visit, id: web::Path<i64>) -> Result<HttpResponse, Problem> {
    steer(&visit, *id, Control::Pause, "Paused.").await
}

/// `POST /bulk/{id}/resume`
pub(crate) async fn resume(visit: Visit, id: web::Path<i64>) -> Result<HttpResponse, Problem> {
    steer(&visit, *id, Control::Resume, "It goes on.").await
}

/// `POST /bulk/{id}/stop`
pub(crate) async fn stop(visit: Visit, id: web::Path<i64>) -> Result<HttpResponse, Problem> {
    steer(
        &visit,
        *id,
        Control::Cancel,
        "Stopped. What was done stays done.",
    )
    .await
}

/// `POST /bulk/{id}/undo`
pub(crate) async fn undo(visit: Visit, id: web::Path<i64>) -> Result<HttpResponse, Problem> {
    steer(&visit, *id, Control::Undo, "It is being undone.").await
}

async fn steer(
    visit: &Visit,
    id: i64,
    asked: Control,
    notice: &str,
) -> Result<HttpResponse, Problem> {
    control(visit, id, asked).await?;
    Ok(visit.go(&format!("/bulk/{id}"), notice))
}

/// Controls an operation, for who may do what it does.
pub(crate) async fn control(visit: &Visit, id: i64, asked: Control) -> Result<(), Problem> {
    let operation = found(visit, id).await?;
    let needs = Verb::parse(&operation.verb)?.needs();
    if !visit.may(needs) {
        return Err(Problem::forbidden(
            format!(
                "this operation takes the permission {}, which you do not have",
                needs.name()
            ),
            "ask who runs the dashboard",
        ));
    }
    let actor = visit.access.actor().to_owned();
    let write = visit.database().write(move |conn| {
        async move { admin::control_async(conn, id, asked, &actor).await }.boxed()
    });
    if !write.await? {
        return Err(Problem::conflict(
            format!("operation {id} is {} by now", found(visit, id).await?.state),
            "look at it again: what you asked for is not possible in this state",
        ));
    }
    visit.dashboard.inner.executor.wake();
    Ok(())
}
