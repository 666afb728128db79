//! Actions on all jobs that match: a preview that counts and says what will be, then a durable operation with its progress.

use actix_web::{HttpResponse, web};
use askama::Template;
use chrono::{DateTime, SecondsFormat, Utc};
use futures_util::FutureExt as _;
use pgqueue_core::admin::{self, Action, Control, Filter, Operation, Plan, Preview, Summary};
use pgqueue_core::stats::Count;
use serde::Deserialize;

use crate::access::Permissions;
use crate::filter::Terms;
use crate::frame::{Frame, Section};
use crate::problem::Problem;
use crate::visit::Visit;

/// A purge of more than so many jobs asks for their number to be typed.
const TYPED_ABOVE: i64 = 100;
/// Jobs of a canary.
const CANARY: i32 = 10;
/// Operations a page.
const PAGE: i64 = 50;

/// What can be done to all that match.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verb {
    Requeue,
    RunNow,
    Cancel,
    Purge,
}

impl Verb {
    fn parse(name: &str) -> Result<Self, Problem> {
        match name {
            "requeue" => Ok(Self::Requeue),
            "run_now" | "run-now" => Ok(Self::RunNow),
            "cancel" => Ok(Self::Cancel),
            "purge" => Ok(Self::Purge),
            _ => Err(Problem::bad_request(
                format!("{name:?} is no action"),
                "choose requeue, run_now, cancel or purge",
            )),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Requeue => "requeue",
            Self::RunNow => "run_now",
            Self::Cancel => "cancel",
            Self::Purge => "purge",
        }
    }

    /// Says it as a button does.
    fn word(self) -> &'static str {
        match self {
            Self::Requeue => "Requeue",
            Self::RunNow => "Run now",
            Self::Cancel => "Cancel",
            Self::Purge => "Purge",
        }
    }

    fn needs(self) -> Permissions {
        match self {
            Self::Requeue | Self::RunNow => Permissions::REQUEUE,
            Self::Cancel => Permissions::CANCEL,
            Self::Purge => Permissions::PURGE,
        }
    }

    fn effect(self) -> &'static str {
        match self {
            Self::Requeue => {
                "They become pending and due now. Attempts begin at zero again, their history is kept. For a day this can be undone for those that no worker has claimed since."
            }
            Self::RunNow => {
                "They are due now instead of later; attempts stay as they are. Those that are due already keep their place."
            }
            Self::Cancel => {
                "Pending ones will not run. Running ones are asked to stop, and are cancelled when their handler has stopped."
            }
            Self::Purge => {
                "They are deleted with payload, output and errors. For a day this can be undone; then they are gone."
            }
        }
    }

    fn action(self, filter: Filter) -> Action {
        match self {
            Self::Requeue => admin::requeue(filter),
            Self::RunNow => admin::run_now(filter),
            Self::Cancel => admin::cancel(filter),
            Self::Purge => admin::purge(filter),
        }
    }
}

/// The query of a preview: a filter as text, or the fields of a form.
#[derive(Debug, Deserialize)]
pub(crate) struct Asked {
    action: String,
    #[serde(default)]
    filter: String,
    queue: Option<String>,
    older: Option<String>,
}

impl Asked {
    /// Gives the filter as text.
    fn text(&self) -> String {
        let mut text = self.filter.trim().to_owned();
        let mut add = |term: String| {
            text = format!("{text} {term}").trim().to_owned();
        };
        if let Some(queue) = self.queue.as_ref().filter(|queue| !queue.is_empty()) {
            add(format!(
                "queue:\"{}\"",
                queue.replace('\\', "\\\\").replace('"', "\\\"")
            ));
        }
        if let Some(older) = self.older.as_ref().filter(|older| !older.is_empty()) {
            add(format!("finished>{older}"));
        }
        text
    }
}

fn terms(text: &str) -> Result<Terms, Problem> {
    Terms::parse(text).map_err(|mistake| {
        Problem::bad_request(mistake.0, "correct the filter, and preview it again")
    })
}

#[derive(Template)]
#[template(path = "bulk_preview.html")]
struct PreviewPage {
    frame: Frame,
    verb: Verb,
    filter: String,
    preview: Preview,
    cutoff: String,
    sample: Vec<Summary>,
}

impl PreviewPage {
    fn may(&self) -> bool {
        self.frame.may.contains(self.verb.needs())
    }

    fn must_type(&self) -> bool {
        self.verb == Verb::Purge && self.preview.jobs.at_least > TYPED_ABOVE
    }

    fn canary(&self) -> i32 {
        CANARY
    }

    fn back(&self) -> String {
        let query = serde_urlencoded::to_string([("q", &self.filter)]).unwrap_or_default();
        format!("{}/jobs?{query}", self.frame.base)
    }
}

/// `GET /bulk/preview`
pub(crate) async fn preview(
    visit: Visit,
    asked: web::Query<Asked>,
) -> Result<HttpResponse, Problem> {
    let verb = Verb::parse(&asked.action)?;
    let filter = asked.text();
    let terms = terms(&filter)?;
    if terms.reads_payloads() && !visit.may(Permissions::VIEW_PAYLOAD) {
        return Err(Problem::forbidden(
            "the filter looks into payloads, which takes the permission VIEW_PAYLOAD",
            "leave that term out, or ask who runs the dashboard",
        ));
    }
    let action = verb.action(terms.filter(Utc::now()));
    let read = visit.database().read(move |conn| {
        async move {
            let preview = action.preview_async(conn).await?;
            let ids = preview.sample.clone();
            let page = admin::find(Filter::from(ids)).run_async(conn).await?;
            Ok((preview, page.jobs))
        }
        .boxed()
    });
    let (preview, sample) = read.await?;
    visit.page(&PreviewPage {
        frame: visit.frame(Section::Bulk, format!("{}: preview", verb.word())),
        verb,
        filter,
        cutoff: preview.cutoff.to_rfc3339_opts(SecondsFormat::Micros, true),
        preview,
        sample,
    })
}

/// The form of a preview.
#[derive(Debug, Deserialize)]
pub(crate) struct Order {
    filter: String,
    cutoff: DateTime<Utc>,
    expected: i64,
    exact: bool,
    #[serde(default)]
    reason: String,
    #[serde(default)]
    rate: String,
    canary: Option<String>,
    #[serde(default)]
    typed: String,
}

/// `POST /bulk/requeue`
pub(crate) async fn requeue(
    visit: Visit,
    order: web::Form<Order>,
) -> Result<HttpResponse, Problem> {
    start(&visit, Verb::Requeue, order.into_inner()).await
}

/// `POST /bulk/run_now`
pub(crate) async fn run_now(
    visit: Visit,
    order: web::Form<Order>,
) -> Result<HttpResponse, Problem> {
    start(&visit, Verb::RunNow, order.into_inner()).await
}

/// `POST /bulk/cancel`
pub(crate) async fn cancel(visit: Visit, order: web::Form<Order>) -> Result<HttpResponse, Problem> {
    start(&visit, Verb::Cancel, order.into_inner()).await
}

/// `POST /bulk/purge`
pub(crate) async fn purge(visit: Visit, order: web::Form<Order>) -> Result<HttpResponse, Problem> {
    start(&visit, Verb::Purge, order.into_inner()).await
}

async fn start(visit: &Visit, verb: Verb, order: Order) -> Result<HttpResponse, Problem> {
    if verb == Verb::Purge
        && order.expected > TYPED_ABOVE
        && order.typed.trim() != order.expected.to_string()
    {
        return Err(Problem::invalid(
            format!(
                "{:?} was typed, and {} jobs would be purged",
                order.typed, order.expected
            ),
            format!(
                "go back, and type {} into the field to confirm",
                order.expected
            ),
        ));
    }
    let rate = match order.rate.trim() {
        "" => None,
        text => Some(text.parse().map_err(|_| {
            Problem::invalid(
                format!("the rate {text:?} is no number"),
                "write jobs a second, 1 to 100000, or nothing",
            )
        })?),
    };
    let cutoff = order.cutoff.min(Utc::now());
    let jobs = Count {
        at_least: order.expected.max(0),
        exact: order.exact,
    };
    let canary = order.canary.is_some().then_some(CANARY);
    let plan = Plan::since(cutoff, jobs).rate(rate).canary(canary);
    let mut action = verb
        .action(terms(&order.filter)?.filter(cutoff))
        .by(visit.access.actor());
    if !order.reason.trim().is_empty() {
        action = action.because(order.reason.trim());
    }
    let write = visit
        .database()
        .write(move |conn| action.start_async(conn, plan).boxed());
    let id = write.await?;
    visit.dashboard.inner.executor.wake();
    Ok(visit.go(
        &format!("/bulk/{id}"),
        "Started. It goes on by itself if you leave this page.",
    ))
}

#[derive(Template)]
#[template(path = "bulk.html")]
struct Index {
    frame: Frame,
    operations: Vec<Operation>,
    older: Option<i64>,
}

/// The query of the list.
#[derive(Debug, Deserialize)]
pub(crate) struct Turned {
    before: Option<i64>,
}

/// `GET /bulk`
pub(crate) async fn index(
    visit: Visit,
    turned: web::Query<Turned>,
) -> Result<HttpResponse, Problem> {
    let before = turned.before;
    let read = visit
        .database()
        .read(move |conn| admin::operations_async(conn, before, PAGE).boxed());
    let operations = read.await?;
    let full = i64::try_from(operations.len()).unwrap_or(0) == PAGE;
    visit.page(&Index {
        frame: visit.frame(Section::Bulk, "Bulk operations"),
        older: operations.last().map(|last| last.id).filter(|_| full),
        operations,
    })
}

#[derive(Template)]
#[template(path = "bulk_operation.html")]
struct Show {
    frame: Frame,
    operation: Operation,
    conditions: Vec<(String, String)>,
}

impl Show {
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

/// `GET /bulk/{id}`
pub(crate) async fn show(visit: Visit, id: web::Path<i64>) -> Result<HttpResponse, Problem> {
    let operation = found(&visit, *id).await?;
    let conditions = operation
        .filter
        .as_object()
        .map(|filter| {
            filter
                .iter()
                .map(|(name, value)| (name.clone(), written(value)))
                .collect()
        })
        .unwrap_or_default();
    visit.page(&Show {
        frame: visit.frame(Section::Bulk, format!("Operation {id}")),
        operation,
        conditions,
    })
}

/// Writes a value of a filter for people.
fn written(value: &serde_json::Value) -> String {
    match value {
        serde_json::Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

async fn found(visit: &Visit, id: i64) -> Result<Operation, Problem> {
    let read = visit
        .database()
        .read(move |conn| admin::operation_async(conn, id).boxed());
    read.await?.ok_or_else(|| {
        Problem::not_found(
            format!("there is no operation {id}"),
            "look at the list of bulk operations",
        )
    })
}

/// `POST /bulk/{id}/pause`
pub(crate) async fn pause(visit: Visit, id: web::Path<i64>) -> Result<HttpResponse, Problem> {
    control(&visit, *id, Control::Pause, "Paused.").await
}

/// `POST /bulk/{id}/resume`
pub(crate) async fn resume(visit: Visit, id: web::Path<i64>) -> Result<HttpResponse, Problem> {
    control(&visit, *id, Control::Resume, "It goes on.").await
}

/// `POST /bulk/{id}/stop`
pub(crate) async fn stop(visit: Visit, id: web::Path<i64>) -> Result<HttpResponse, Problem> {
    control(
        &visit,
        *id,
        Control::Cancel,
        "Stopped. What was done stays done.",
    )
    .await
}

/// `POST /bulk/{id}/undo`
pub(crate) async fn undo(visit: Visit, id: web::Path<i64>) -> Result<HttpResponse, Problem> {
    control(&visit, *id, Control::Undo, "It is being undone.").await
}

/// Controls an operation, for who may do what it does.
async fn control(
    visit: &Visit,
    id: i64,
    control: Control,
    notice: &str,
) -> Result<HttpResponse, Problem> {
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
        async move { admin::control_async(conn, id, control, &actor).await }.boxed()
    });
    if !write.await? {
        return Err(Problem::conflict(
            format!("operation {id} is {} by now", found(visit, id).await?.state),
            "look at it again: what you asked for is not possible in this state",
        ));
    }
    visit.dashboard.inner.executor.wake();
    Ok(visit.go(&format!("/bulk/{id}"), notice))
}
