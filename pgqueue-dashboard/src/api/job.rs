//! One job, for programs: all that its page tells, and what is done to it alone.
//!
//! JSON of the job travels as it is stored, every digit of its numbers included; what hints at a secret is hidden as on
//! the page, and its reveal is written into the audit.

use actix_web::{HttpResponse, web};
use chrono::{DateTime, Utc};
use pgqueue_core::admin::{Deed, Edit, Reason, Record};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::act::Said;
use crate::access::Permissions;
use crate::json::{HIDDEN, Redaction};
use crate::pages::job::{self, WHOLE_JSON_LIMIT};
use crate::pages::{job_actions, job_edit};
use crate::problem::Problem;
use crate::reason::sentence;
use crate::visit::Visit;

/// What is answered about a job.
#[derive(Serialize)]
struct Answer {
    job: Job,
    why: Vec<String>,
    deeds: Vec<Value>,
}

#[derive(Serialize)]
struct Job {
    #[serde(flatten)]
    facts: Value,
    #[serde(flatten)]
    documents: Documents,
}

/// The JSON of a job; without the permission to see it there is none.
#[derive(Serialize, Default)]
struct Documents {
    payload: Option<Box<RawValue>>,
    metadata: Option<Box<RawValue>>,
    progress: Option<Box<RawValue>>,
    output: Option<Box<RawValue>>,
    /// How many values are hidden.
    hidden: usize,
    /// Those that are too long for an answer.
    left_out: Vec<&'static str>,
}

/// `GET /api/v1/jobs/{id}`
pub(crate) async fn show(visit: Visit, id: web::Path<i64>) -> Result<HttpResponse, Problem> {
    let hides = visit.dashboard.inner.redaction.clone();
    tell(&visit, *id, &hides).await
}

/// `POST /api/v1/jobs/{id}/reveal`: the same with what is hidden; the audit knows who saw it.
pub(crate) async fn reveal(
    visit: Visit,
    id: web::Path<i64>,
    said: web::Json<Said>,
) -> Result<HttpResponse, Problem> {
    job::look(&visit, *id, said.reason()).await?;
    tell(&visit, *id, &Redaction::nothing()).await
}

/// `POST /api/v1/jobs/{id}/clone`
pub(crate) async fn clone(
    visit: Visit,
    id: web::Path<i64>,
    said: web::Json<Said>,
) -> Result<HttpResponse, Problem> {
    let made = job_actions::copy(&visit, *id, said.reason()).await?;
    Ok(HttpResponse::Ok().json(json!({ "id": made })))
}

/// What an edit changes: what is not named stays.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Change {
    version: String,
    #[serde(default, deserialize_with = "named")]
    payload: Option<Box<RawValue>>,
    queue: Option<String>,
    priority: Option<i16>,
    run_at: Option<DateTime<Utc>>,
    max_retries: Option<i32>,
    #[serde(default)]
    requeue: bool,
    reason: Option<String>,
}

/// Reads a payload that is named: `null` is one, too.
fn named<'de, D: Deserializer<'de>>(value: D) -> Result<Option<Box<RawValue>>, D::Error> {
    Box::<RawValue>::deserialize(value).map(Some)
}

/// `POST /api/v1/jobs/{id}/edit`: answers with the job as it is then.
pub(crate) async fn edit(
    visit: Visit,
    id: web::Path<i64>,
    change: web::Json<Change>,
) -> Result<HttpResponse, Problem> {
    job::read(&visit, *id).await?;
    job_edit::write(&visit, *id, change.edit(&visit, *id)?).await?;
    show(visit, id).await
}

impl Change {
    fn edit(&self, visit: &Visit, id: i64) -> Result<Edit, Problem> {
        let mut edit = job_edit::begin(visit, id, &self.version, self.reason.as_deref());
        if let Some(payload) = &self.payload {
            edit = job_edit::with_payload(visit, edit, unhidden(payload)?)?;
        }
        if let Some(queue) = &self.queue {
            edit = edit.queue(queue);
        }
        if let Some(priority) = self.priority {
            edit = edit.priority(priority);
        }
        if let Some(run_at) = self.run_at {
            edit = edit.run_at(run_at);
        }
        if let Some(retries) = self.max_retries {
            edit = edit.max_retries(retries);
        }
        Ok(if self.requeue { edit.requeue() } else { edit })
    }
}

/// Refuses a payload with the dots of a hidden value: they would take the place of the secret.
fn unhidden(payload: &RawValue) -> Result<&str, Problem> {
    if payload.get().contains(HIDDEN) {
        return Err(Problem::invalid(
            "the payload has dots in the place of a hidden value, which would be lost",
            "reveal the job, and edit the payload that this gives",
        ));
    }
    Ok(payload.get())
}

async fn tell(visit: &Visit, id: i64, hides: &Redaction) -> Result<HttpResponse, Problem> {
    let (record, reasons, deeds) = job::told(visit, id).await?;
    let may = visit.access.permissions();
    let documents = if may.contains(Permissions::VIEW_PAYLOAD) {
        documents(&record, hides)
    } else {
        Documents::default()
    };
    let deeds = deeds.iter().map(|deed| deed_of(deed, may, hides));
    Ok(HttpResponse::Ok().json(Answer {
        why: sentences(&record, &reasons),
        deeds: deeds.collect(),
        job: Job {
            facts: facts(&record),
            documents,
        },
    }))
}

fn sentences(job: &Record, reasons: &[Reason]) -> Vec<String> {
    let now = Utc::now();
    let reasons = reasons.iter();
    reasons.map(|reason| sentence(job, reason, now)).collect()
}

fn documents(job: &Record, hides: &Redaction) -> Documents {
    let mut documents = Documents::default();
    let mut document = |name, json: Option<&String>| {
        let (raw, hidden) = hides.raw(json?, WHOLE_JSON_LIMIT);
        documents.hidden += hidden;
        if raw.is_none() {
            documents.left_out.push(name);
        }
        raw
    };
    let payload = document("payload", Some(&job.payload));
    let metadata = document("metadata", job.metadata.as_ref());
    let progress = document("progress", job.progress.as_ref());
    let output = document("output", job.output.as_ref());
    Documents {
        payload,
        metadata,
        progress,
        output,
        ..documents
    }
}

fn deed_of(deed: &Deed, may: Permissions, hides: &Redaction) -> Value {
    let details = job::details(deed, may).and_then(|text| {
        let shown = hides.compact(text, WHOLE_JSON_LIMIT).text;
        serde_json::from_str::<Value>(&shown).ok()
    });
    json!({
        "at": deed.at,
        "actor": deed.actor,
        "action": deed.action,
        "reason": deed.reason,
        "details": details,
    })
}

fn facts(job: &Record) -> Value {
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
        "timeout_seconds": job.timeout().map(|timeout| timeout.as_secs_f64()),
        "tags": job.tags(),
        "cloned_from": job.cloned_from(),
        "failures": failures.collect::<Vec<_>>(),
        "version": job.version,
    })
}
