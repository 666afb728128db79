//! Editing a job: what was changed by somebody else meanwhile is never overwritten, and what was typed with a mistake in it
//! comes back with the form.

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};
use askama::Template;
use chrono::{DateTime, NaiveDateTime, TimeZone as _, Utc};
use futures_util::FutureExt as _;
use pgqueue_core::JobState;
use pgqueue_core::admin::{self, Edit, Edited, Record};
use serde::Deserialize;

use super::job_actions::{given, taken};
use super::{job, jobs};
use crate::access::Permissions;
use crate::frame::{Frame, Section};
use crate::json::Redaction;
use crate::problem::Problem;
use crate::visit::Visit;

/// How `<input type="datetime-local">` writes a time; the seconds are left out where they are zero.
const LOCAL: [&str; 2] = ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%dT%H:%M"];

#[derive(Template)]
#[template(path = "job_edit.html")]
struct EditPage {
    frame: Frame,
    job: Record,
    form: Form,
    mistake: Option<Problem>,
    zone: String,
}

impl EditPage {
    fn new(visit: &Visit, job: Record, form: Form, mistake: Option<Problem>) -> Self {
        let frame = visit.frame(Section::Jobs, format!("Edit job {}", job.id));
        let zone = job.run_at.with_timezone(&frame.zone());
        Self {
            zone: zone.format("UTC%:z").to_string(),
            frame,
            job,
            form,
            mistake,
        }
    }

    /// What is wrong with a field. What names none was found by the parser or by PostgreSQL, in the payload if that was sent.
    fn mistake_in(&self, field: &str) -> Option<&str> {
        let unnamed = self.form.payload.as_ref().map_or("form", |_| "payload");
        let mistake = self.mistake.as_ref();
        let found = mistake.filter(|mistake| mistake.field.unwrap_or(unnamed) == field);
        found.map(|mistake| mistake.detail.as_str())
    }
}

/// `GET /jobs/{id}/edit`
pub(crate) async fn show(visit: Visit, id: web::Path<i64>) -> Result<HttpResponse, Problem> {
    let job = editable(&visit, *id).await?;
    let form = Form::of(&visit, &job, jobs::redaction(&visit));
    visit.page(&EditPage::new(&visit, job, form, None))
}

/// `POST /jobs/{id}/edit/reveal`: the form with a payload that has what is hidden; the audit knows who saw it.
pub(crate) async fn reveal(visit: Visit, id: web::Path<i64>) -> Result<HttpResponse, Problem> {
    let id = id.into_inner();
    if !visit.may(Permissions::EDIT) {
        return Err(Problem::forbidden(
            "editing takes the permission EDIT",
            "ask who runs the dashboard",
        ));
    }
    job::look(&visit, id, None).await?;
    let job = editable(&visit, id).await?;
    let form = Form::of(&visit, &job, &Redaction::nothing());
    visit.page(&EditPage::new(&visit, job, form, None))
}

async fn editable(visit: &Visit, id: i64) -> Result<Record, Problem> {
    let job = job::read(visit, id).await?;
    if matches!(job.state, JobState::Pending | JobState::Dead) {
        return Ok(job);
    }
    Err(Problem::conflict(
        format!(
            "job {id} is {}: only pending and dead jobs are edited",
            job.state
        ),
        "clone it, and edit the clone",
    ))
}

/// The fields of the page: as the job is, or as they were sent.
#[derive(Debug, Deserialize)]
pub(crate) struct Form {
    version: String,
    /// None where the payload may not be seen, or has what is hidden: then it is not for this form.
    payload: Option<String>,
    queue: String,
    priority: String,
    run_at: String,
    /// What the field had: only a time that somebody changed is written.
    run_at_was: String,
    max_retries: String,
    requeue: Option<String>,
    reason: Option<String>,
}

/// `POST /jobs/{id}/edit`
pub(crate) async fn save(
    visit: Visit,
    id: web::Path<i64>,
    form: web::Form<Form>,
) -> Result<HttpResponse, Problem> {
    let (id, form) = (id.into_inner(), form.into_inner());
    match form.save(&visit, id).await {
        Ok(()) => Ok(visit.go(&format!("/jobs/{id}"), "Saved.")),
        Err(mistake) if mistake.status == StatusCode::UNPROCESSABLE_ENTITY => {
            let job = editable(&visit, id).await?;
            visit.refuse(&EditPage::new(&visit, job, form, Some(mistake)))
        }
        Err(problem) => Err(problem),
    }
}

/// Begins an edit in the visitor's name, for this reason.
pub(crate) fn begin(visit: &Visit, id: i64, version: &str, reason: Option<&str>) -> Edit {
    let edit = admin::edit(id, version)
        .by(visit.access.actor())
        .hide(visit.dashboard.inner.hidden_words.iter().cloned());
    match given(reason) {
        Some(reason) => edit.because(reason),
        None => edit,
    }
}

/// Gives it this payload, if the visitor may see payloads.
pub(crate) fn with_payload(visit: &Visit, edit: Edit, payload: &str) -> Result<Edit, Problem> {
    if visit.may(Permissions::VIEW_PAYLOAD) {
        return Ok(edit.payload(payload));
    }
    Err(Problem::forbidden(
        "payloads take the permission VIEW_PAYLOAD",
        "edit the other fields",
    ))
}

/// Saves an edit, or says what was in its way.
pub(crate) async fn write(visit: &Visit, id: i64, edit: Edit) -> Result<(), Problem> {
    let edited = visit
        .database()
        .write(|conn| edit.run_async(conn).boxed())
        .await?;
    match edited {
        Edited::Saved => Ok(()),
        Edited::KeyTaken { by } => Err(taken(id, Some(by))),
        _ => Err(Problem::conflict(
            format!("job {id} changed after it was shown: nothing was saved"),
            "look at the job as it is now, and edit that",
        )),
    }
}

impl Form {
    fn of(visit: &Visit, job: &Record, hides: &Redaction) -> Self {
        let frame = visit.frame(Section::Jobs, "");
        let shown = hides.pretty(&job.payload, usize::MAX);
        let run_at = job.run_at.with_timezone(&frame.zone());
        let run_at = run_at.format("%Y-%m-%dT%H:%M:%S").to_string();
        Self {
            version: job.version.clone(),
            payload: (frame.may_see_payloads() && shown.hidden == 0).then_some(shown.text),
            queue: job.queue.clone(),
            priority: job.priority.to_string(),
            run_at_was: run_at.clone(),
            run_at,
            max_retries: job.max_retries.to_string(),
            requeue: job.state.is_terminal().then(|| "1".to_owned()),
            reason: None,
        }
    }

    async fn save(&self, visit: &Visit, id: i64) -> Result<(), Problem> {
        write(visit, id, self.edit(visit, id)?).await
    }

    fn edit(&self, visit: &Visit, id: i64) -> Result<Edit, Problem> {
        let priority = number("priority", &self.priority)?;
        let priority = i16::try_from(priority).map_err(|_| {
            Problem::invalid("the priority is out of bounds: 0 to 9", "write 0 to 9")
                .of_field("priority")
        })?;
        let mut edit = begin(visit, id, &self.version, self.reason.as_deref())
            .queue(self.queue.trim())
            .priority(priority)
            .max_retries(number("max_retries", &self.max_retries)?);
        if self.run_at != self.run_at_was {
            edit = edit.run_at(local_time(visit, &self.run_at)?);
        }
        if let Some(payload) = &self.payload {
            edit = with_payload(visit, edit, payload)?;
        }
        if self.requeue.is_some() {
            edit = edit.requeue();
        }
        Ok(edit)
    }
}

/// Reads the number of a field.
fn number(field: &'static str, text: &str) -> Result<i32, Problem> {
    text.trim().parse().map_err(|_| {
        let advice = format!("write {field} as a whole number");
        Problem::invalid(format!("{field} is no whole number"), advice).of_field(field)
    })
}

/// Reads a time in the visitor's zone.
fn local_time(visit: &Visit, text: &str) -> Result<DateTime<Utc>, Problem> {
    let zone = visit.frame(Section::Jobs, "").zone();
    let parsed = LOCAL
        .iter()
        .find_map(|format| NaiveDateTime::parse_from_str(text, format).ok());
    let local = parsed.and_then(|time| zone.from_local_datetime(&time).single());
    local.map(|time| time.with_timezone(&Utc)).ok_or_else(|| {
        let detail = "that is no time: write it as 2026-11-24T16:30";
        Problem::invalid(detail, "change the time").of_field("run_at")
    })
}
