//! Actions on all jobs that match: a preview that counts and says what will be, and the start of a durable operation.

use actix_web::{HttpResponse, web};
use askama::Template;
use chrono::{DateTime, SecondsFormat, Utc};
use futures_util::FutureExt as _;
use pgqueue_core::admin::{self, Action, Filter, Plan, Preview, Summary};
use pgqueue_core::stats::Count;
use serde::Deserialize;

use super::job_actions::given;
use crate::access::Permissions;
use crate::filter::Terms;
use crate::frame::{Frame, Section};
use crate::link;
use crate::problem::Problem;
use crate::visit::Visit;

/// A purge of more than so many jobs asks for their number to be typed.
const TYPED_ABOVE: i64 = 100;
/// Jobs of a canary.
const CANARY: i32 = 10;

/// What can be done to all that match.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verb {
    Requeue,
    RunNow,
    Cancel,
    Purge,
}

impl Verb {
    pub(crate) fn parse(name: &str) -> Result<Self, Problem> {
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

    /// Names it as addresses and operations do.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Requeue => "requeue",
            Self::RunNow => "run_now",
            Self::Cancel => "cancel",
            Self::Purge => "purge",
        }
    }

    /// Says it as a button does.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Requeue => "Requeue",
            Self::RunNow => "Run now",
            Self::Cancel => "Cancel",
            Self::Purge => "Purge",
        }
    }

    /// What the actor must be allowed.
    pub(crate) fn needs(self) -> Permissions {
        match self {
            Self::Requeue | Self::RunNow => Permissions::REQUEUE,
            Self::Cancel => Permissions::CANCEL,
            Self::Purge => Permissions::PURGE,
        }
    }

    /// Says what becomes of the jobs.
    pub(crate) fn effect(self) -> &'static str {
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

    pub(crate) fn action(self, filter: Filter) -> Action {
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

/// Reads a filter, if the actor may look where it looks: what it matches would tell what a payload has.
pub(crate) fn terms(visit: &Visit, text: &str) -> Result<Terms, Problem> {
    let terms = Terms::parse(text).map_err(|mistake| {
        Problem::bad_request(mistake.0, "correct the filter, and preview it again")
    })?;
    if terms.reads_payloads() && !visit.may(Permissions::VIEW_PAYLOAD) {
        return Err(Problem::forbidden(
            "the filter looks into payloads, which takes the permission VIEW_PAYLOAD",
            "leave that term out, or ask who runs the dashboard",
        ));
    }
    Ok(terms)
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
    /// What was typed before.
    sent: Order,
    mistake: Option<Problem>,
}

impl PreviewPage {
    /// Reads what would be, and shows it with what was typed before.
    async fn read(
        visit: &Visit,
        verb: Verb,
        filter: String,
        sent: Order,
        mistake: Option<Problem>,
    ) -> Result<Self, Problem> {
        let terms = terms(visit, &filter)?;
        let (preview, sample) = look_ahead(visit, verb, &terms).await?;
        Ok(Self {
            frame: visit.frame(Section::Bulk, format!("{}: preview", verb.word())),
            verb,
            filter,
            cutoff: preview.cutoff.to_rfc3339_opts(SecondsFormat::Micros, true),
            preview,
            sample,
            sent,
            mistake,
        })
    }

    fn mistake_in(&self, field: &str) -> Option<&str> {
        // The number may have come down meanwhile to what need not be typed.
        let has_field = |name| name != "typed" || self.must_type();
        let at = |mistake: &Problem| {
            mistake
                .field
                .filter(|name| has_field(*name))
                .unwrap_or("form")
        };
        let mistake = self.mistake.as_ref().filter(|mistake| at(mistake) == field);
        mistake.map(|mistake| mistake.detail.as_str())
    }

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
        let list = link::with("/jobs", &[("q", &self.filter)]);
        format!("{}{list}", self.frame.base)
    }
}

/// `GET /bulk/preview`
pub(crate) async fn preview(
    visit: Visit,
    asked: web::Query<Asked>,
) -> Result<HttpResponse, Problem> {
    let verb = Verb::parse(&asked.action)?;
    let page = PreviewPage::read(&visit, verb, asked.text(), Order::default(), None);
    visit.page(&page.await?)
}

/// Reads what an action on all that match would do, with some of the jobs.
pub(crate) async fn look_ahead(
    visit: &Visit,
    verb: Verb,
    terms: &Terms,
) -> Result<(Preview, Vec<Summary>), Problem> {
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
    read.await
}

/// The form of a preview.
#[derive(Debug, Default, Deserialize)]
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

impl Order {
    /// Reads the rate, if there is one.
    fn rate(&self) -> Result<Option<i32>, Problem> {
        let text = self.rate.trim();
        if text.is_empty() {
            return Ok(None);
        }
        let rate = text
            .parse()
            .ok()
            .filter(|rate| (1..=100_000).contains(rate));
        rate.map(Some).ok_or_else(|| {
            let detail =
                format!("the rate is {text:?}: write 1 to 100000 jobs a second, or nothing");
            Problem::invalid(detail, "change the rate").of_field("rate")
        })
    }

    /// Checks that the number of a large purge was typed: as the page writes it, in groups, or plain.
    fn check_number(&self, verb: Verb) -> Result<(), Problem> {
        let digits = self.typed.chars().filter(|c| !c.is_whitespace());
        let is_asked = verb == Verb::Purge && self.expected > TYPED_ABOVE;
        if !is_asked || digits.collect::<String>() == self.expected.to_string() {
            return Ok(());
        }
        let (typed, expected) = (&self.typed, self.expected);
        let detail = format!("{typed:?} was typed, and {expected} jobs would have been purged");
        Err(Problem::invalid(detail, "type the number to confirm").of_field("typed"))
    }
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
    match start_as(visit, verb, &order).await {
        Err(mistake) if mistake.field.is_some() => {
            let filter = order.filter.clone();
            let page = PreviewPage::read(visit, verb, filter, order, Some(mistake)).await?;
            visit.refuse(&page)
        }
        Err(problem) => Err(problem),
        Ok(id) => Ok(visit.go(
            &format!("/bulk/{id}"),
            "Started. It goes on by itself if you leave this page.",
        )),
    }
}

async fn start_as(visit: &Visit, verb: Verb, order: &Order) -> Result<i64, Problem> {
    order.check_number(verb)?;
    let rate = order.rate()?;
    let cutoff = order.cutoff.min(Utc::now());
    let jobs = Count {
        at_least: order.expected.max(0),
        exact: order.exact,
    };
    let canary = order.canary.is_some().then_some(CANARY);
    let plan = Plan::since(cutoff, jobs).rate(rate).canary(canary);
    let action = verb.action(terms(visit, &order.filter)?.filter(cutoff));
    begin(visit, action, plan, Some(&order.reason)).await
}

/// Starts an operation in the visitor's name, for this reason, and gives its id.
pub(crate) async fn begin(
    visit: &Visit,
    action: Action,
    plan: Plan,
    reason: Option<&str>,
) -> Result<i64, Problem> {
    let mut action = action.by(visit.access.actor());
    if let Some(reason) = given(reason) {
        action = action.because(reason);
    }
    let write = visit
        .database()
        .write(move |conn| action.start_async(conn, plan).boxed());
    let id = write.await?;
    visit.dashboard.inner.executor.wake();
    Ok(id)
}
