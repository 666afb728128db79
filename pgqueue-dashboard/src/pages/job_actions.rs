//! What is done to one job, or to those selected in a list.

use actix_web::{HttpResponse, web};
use askama::Template;
use futures_util::FutureExt as _;
use pgqueue_core::admin::{self, Action, Done, Reason, SkipReason, Skipped};

use super::job;
use crate::frame::{Frame, Section};
use crate::problem::Problem;
use crate::visit::Visit;

/// Most jobs that a selection may have.
const SELECTION_LIMIT: usize = 1000;

#[derive(Template)]
#[template(path = "purge.html")]
struct PurgePage {
    frame: Frame,
    ids: Vec<i64>,
    /// Where the form goes, and where "no" leads, below the base.
    action: String,
    back: String,
    what: String,
}

/// A reason for the audit, from a form.
#[derive(Debug, Default, serde::Deserialize)]
pub(crate) struct Said {
    reason: Option<String>,
}

/// `POST /jobs/{id}/requeue`
pub(crate) async fn requeue(
    visit: Visit,
    id: web::Path<i64>,
    said: web::Form<Said>,
) -> Result<HttpResponse, Problem> {
    one(
        &visit,
        *id,
        admin::requeue(*id),
        &said,
        "Requeued: it is pending and due now.",
    )
    .await
}

/// `POST /jobs/{id}/cancel`
pub(crate) async fn cancel(
    visit: Visit,
    id: web::Path<i64>,
    said: web::Form<Said>,
) -> Result<HttpResponse, Problem> {
    one(&visit, *id, admin::cancel(*id), &said, "Cancelled.").await
}

/// `POST /jobs/{id}/run-now`
pub(crate) async fn run_now(
    visit: Visit,
    id: web::Path<i64>,
    said: web::Form<Said>,
) -> Result<HttpResponse, Problem> {
    one(&visit, *id, admin::run_now(*id), &said, "It is due now.").await
}

/// `GET /jobs/{id}/purge`: asks first.
pub(crate) async fn ask_purge(visit: Visit, id: web::Path<i64>) -> Result<HttpResponse, Problem> {
    let found = job::read(&visit, *id).await?;
    if !found.state.is_terminal() {
        return Err(Problem::conflict(
            format!(
                "job {id} is {}: only dead, cancelled and completed jobs are purged",
                found.state
            ),
            "cancel it first",
        ));
    }
    visit.page(&PurgePage {
        frame: visit.frame(Section::Jobs, format!("Purge job {id}")),
        ids: Vec::new(),
        action: format!("/jobs/{id}/purge"),
        back: format!("/jobs/{id}"),
        what: format!(
            "job {id}, {} of the queue {}, {}",
            found.kind, found.queue, found.state
        ),
    })
}

/// `POST /jobs/{id}/purge`
pub(crate) async fn purge(
    visit: Visit,
    id: web::Path<i64>,
    said: web::Form<Said>,
) -> Result<HttpResponse, Problem> {
    let id = id.into_inner();
    let done = act(&visit, admin::purge(id), said.reason.as_deref()).await?;
    if done.changed == 0 {
        return Err(skipped(&visit, id, &done).await);
    }
    Ok(visit.go("/jobs", &format!("Job {id} is purged.")))
}

/// `POST /jobs/{id}/clone`
pub(crate) async fn clone(
    visit: Visit,
    id: web::Path<i64>,
    said: web::Form<Said>,
) -> Result<HttpResponse, Problem> {
    let id = id.into_inner();
    let made = copy(&visit, id, said.reason.as_deref()).await?;
    Ok(visit.go(
        &format!("/jobs/{made}"),
        &format!("This is the clone of job {id}."),
    ))
}

/// Enqueues a copy of a job and gives its id.
pub(crate) async fn copy(visit: &Visit, id: i64, reason: Option<&str>) -> Result<i64, Problem> {
    let mut copy = admin::clone(id).by(visit.access.actor());
    if let Some(reason) = given(reason) {
        copy = copy.because(reason);
    }
    let made = visit
        .database()
        .write(|conn| copy.run_async(conn).boxed())
        .await?;
    made.ok_or_else(|| job::missing(id))
}

/// `POST /jobs/selected/requeue`
pub(crate) async fn requeue_selected(
    visit: Visit,
    form: web::Form<Vec<(String, String)>>,
) -> Result<HttpResponse, Problem> {
    let chosen = Selection::read(&form)?;
    selected(
        &visit,
        &chosen,
        admin::requeue(chosen.ids.clone()),
        "requeued",
    )
    .await
}

/// `POST /jobs/selected/cancel`
pub(crate) async fn cancel_selected(
    visit: Visit,
    form: web::Form<Vec<(String, String)>>,
) -> Result<HttpResponse, Problem> {
    let chosen = Selection::read(&form)?;
    selected(
        &visit,
        &chosen,
        admin::cancel(chosen.ids.clone()),
        "cancelled",
    )
    .await
}

/// `POST /jobs/selected/run-now`
pub(crate) async fn run_selected(
    visit: Visit,
    form: web::Form<Vec<(String, String)>>,
) -> Result<HttpResponse, Problem> {
    let chosen = Selection::read(&form)?;
    selected(
        &visit,
        &chosen,
        admin::run_now(chosen.ids.clone()),
        "due now",
    )
    .await
}

/// `POST /jobs/selected/purge`: asks first, then does it.
pub(crate) async fn purge_selected(
    visit: Visit,
    form: web::Form<Vec<(String, String)>>,
) -> Result<HttpResponse, Problem> {
    let chosen = Selection::read(&form)?;
    if chosen.is_confirmed {
        return selected(&visit, &chosen, admin::purge(chosen.ids.clone()), "purged").await;
    }
    visit.page(&PurgePage {
        frame: visit.frame(Section::Jobs, "Purge jobs"),
        what: format!(
            "{} selected {}",
            chosen.ids.len(),
            if chosen.ids.len() == 1 { "job" } else { "jobs" }
        ),
        ids: chosen.ids,
        action: "/jobs/selected/purge".to_owned(),
        back: chosen.back,
    })
}

/// What a form of the list says.
struct Selection {
    ids: Vec<i64>,
    /// The list, below the base.
    back: String,
    reason: Option<String>,
    is_confirmed: bool,
}

impl Selection {
    fn read(form: &[(String, String)]) -> Result<Self, Problem> {
        let all = |name: &'static str| {
            form.iter()
                .filter(move |(field, _)| field == name)
                .map(|(_, value)| value)
        };
        let ids: Result<Vec<i64>, _> = all("id").map(|id| id.parse()).collect();
        let ids = ids.map_err(|_| {
            Problem::bad_request(
                "an id of the selection is no number",
                "go back and select the jobs again",
            )
        })?;
        if ids.is_empty() || ids.len() > SELECTION_LIMIT {
            return Err(Problem::invalid(
                format!(
                    "{} jobs are selected: select 1 to {SELECTION_LIMIT}",
                    ids.len()
                ),
                "go back and select jobs by their boxes, or take all that match by the link under the list",
            ));
        }
        // Anything else would lead away from the dashboard.
        let back = all("back").next().filter(|back| is_list(back));
        Ok(Self {
            ids,
            back: back.map_or("/jobs", |back| back).to_owned(),
            reason: all("reason").next().cloned(),
            is_confirmed: all("confirmed").next().is_some(),
        })
    }
}

/// Tells whether it is the address of a list of jobs, below the base.
pub(super) fn is_list(back: &str) -> bool {
    (back == "/jobs" || back.starts_with("/jobs?"))
        && back.bytes().all(|byte| byte.is_ascii_graphic())
}

async fn selected(
    visit: &Visit,
    chosen: &Selection,
    action: Action,
    became: &str,
) -> Result<HttpResponse, Problem> {
    let done = act(visit, action, chosen.reason.as_deref()).await?;
    let mut notice = format!("{} {became}", done.changed);
    if done.requested > 0 {
        notice.push_str(&format!(", {} asked to stop", done.requested));
    }
    for (reason, words) in [
        (SkipReason::Missing, "gone"),
        (SkipReason::State, "not in a state for it"),
        (SkipReason::Busy, "held by another transaction"),
        (SkipReason::Conflict, "kept from it by their unique key"),
    ] {
        let count = done
            .skipped
            .iter()
            .filter(|skipped| skipped.reason == reason)
            .count();
        if count > 0 {
            notice.push_str(&format!(", {count} {words}"));
        }
    }
    notice.push('.');
    Ok(visit.go(&chosen.back, &notice))
}

async fn one(
    visit: &Visit,
    id: i64,
    action: Action,
    said: &Said,
    notice: &str,
) -> Result<HttpResponse, Problem> {
    let done = act(visit, action, said.reason.as_deref()).await?;
    let back = format!("/jobs/{id}{}", job::query(visit));
    if done.requested > 0 {
        return Ok(visit.go(&back, "Its worker is asked to stop it."));
    }
    if done.changed == 0 {
        return Err(skipped(visit, id, &done).await);
    }
    Ok(visit.go(&back, notice))
}

/// Acts in the visitor's name, for this reason.
pub(crate) async fn act(
    visit: &Visit,
    action: Action,
    reason: Option<&str>,
) -> Result<Done, Problem> {
    let mut action = action.by(visit.access.actor());
    if let Some(reason) = given(reason) {
        action = action.because(reason);
    }
    visit
        .database()
        .write(|conn| action.run_async(conn).boxed())
        .await
}

/// Gives what somebody gave as a reason as the audit can keep it: none if it is empty, and no longer than the field of a page.
pub(crate) fn given(reason: Option<&str>) -> Option<String> {
    let reason = reason.map(str::trim).filter(|reason| !reason.is_empty());
    reason.map(|reason| reason.replace('\0', "").chars().take(500).collect())
}

/// Says why an action left a job as it is.
async fn skipped(visit: &Visit, id: i64, done: &Done) -> Problem {
    let look = "look at the job again, then decide";
    match done.skipped.first().map(|Skipped { reason, .. }| reason) {
        Some(SkipReason::Missing) | None => job::missing(id),
        Some(SkipReason::Conflict) => taken(id, blocker(visit, id).await),
        Some(SkipReason::Busy) => Problem::conflict(
            format!("another transaction holds job {id} locked: nothing was done"),
            "try again in a moment",
        ),
        Some(_) => match job::read(visit, id).await {
            Ok(now) => Problem::conflict(
                format!(
                    "job {id} is {} by now, for which this is not: nothing was done",
                    now.state
                ),
                look,
            ),
            Err(problem) => problem,
        },
    }
}

async fn blocker(visit: &Visit, id: i64) -> Option<i64> {
    let reasons = visit
        .database()
        .read(move |conn| admin::why_async(conn, id).boxed())
        .await;
    reasons.ok()?.into_iter().find_map(|reason| match reason {
        Reason::KeyTaken { by } => Some(by),
        _ => None,
    })
}

pub(super) fn taken(id: i64, by: Option<i64>) -> Problem {
    let other = by.map_or_else(|| "another job".to_owned(), |by| format!("job {by}"));
    Problem::conflict(
        format!("{other} is pending or running with the unique key of job {id}: nothing was done"),
        "wait until that job has ended, or cancel it; a clone has no unique key",
    )
}
