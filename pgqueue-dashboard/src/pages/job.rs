//! One job: where it stands and why, what happened to it, what it carries, and what can be done with it.

use std::time::Duration;

use actix_web::{HttpRequest, HttpResponse, web};
use askama::Template;
use chrono::{DateTime, Utc};
use diesel_async::AsyncPgConnection;
use futures_util::FutureExt as _;
use pgqueue_core::admin::{self, Deed, Failure, Reason, Record};
use pgqueue_core::{Error, JobState};
use serde::Deserialize;

use super::beside::{self, Beside, From};
use super::job_actions::given;
use super::{jobs, panels, rows};
use crate::access::Permissions;
use crate::copy_as::{self, Copied};
use crate::filter::Term;
use crate::frame::{Frame, Section};
use crate::json::{Redaction, Shown};
use crate::link;
use crate::problem::Problem;
use crate::reason::sentence;
use crate::visit::Visit;

/// What is shown of a JSON document before somebody asks for all of it.
const JSON_LIMIT: usize = 64 * 1024;
/// What is shown then: a page that a browser can still hold.
pub(crate) const WHOLE_JSON_LIMIT: usize = 8 * 1024 * 1024;

/// The query of the page.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Asked {
    all: Option<String>,
    #[serde(flatten)]
    from: From,
}

/// A document of the job.
struct Document {
    id: &'static str,
    title: &'static str,
    shown: Shown,
}

/// A link to what is like this job.
struct Like {
    name: &'static str,
    value: String,
    href: String,
}

#[derive(Template)]
#[template(path = "job.html")]
struct JobPage {
    frame: Frame,
    job: Record,
    state: &'static str,
    failures: Vec<Failure>,
    tags: Vec<Like>,
    likes: Vec<Like>,
    documents: Vec<Document>,
    deeds: Vec<Deed>,
    reasons: Vec<Reason>,
    cloned_from: Option<i64>,
    is_revealed: bool,
    has_hidden: bool,
    /// None when a page only brings itself up to date: it does not change under the reader.
    beside: Option<Beside>,
    /// What the address says of the list, for the forms that lead back here.
    query: String,
    copies: Vec<Copied>,
}

impl JobPage {
    fn queue_path(&self) -> String {
        link::queue(&self.job.queue)
    }

    fn may_be_requeued(&self) -> bool {
        self.job.state.is_terminal()
    }

    fn may_be_cancelled(&self) -> bool {
        self.job.state == JobState::Pending
            || self.job.state == JobState::Running && self.job.cancel_requested_at.is_none()
    }

    fn may_be_hurried(&self) -> bool {
        self.job.state == JobState::Pending && self.job.run_at > self.frame.now
    }

    fn may_be_edited(&self) -> bool {
        matches!(self.job.state, JobState::Pending | JobState::Dead)
    }

    fn ran_for(&self) -> Option<Duration> {
        (self.job.finished_at? - self.job.started_at?).to_std().ok()
    }

    fn tone(&self) -> &'static str {
        match self.reasons.first() {
            Some(Reason::Dead { .. }) => "bad",
            Some(
                Reason::NoWorker
                | Reason::UnknownKind { .. }
                | Reason::QueuePaused { .. }
                | Reason::Cancelling { .. },
            ) => "warn",
            _ => "",
        }
    }

    fn details<'a>(&self, deed: &'a Deed) -> Option<&'a str> {
        details(deed, self.frame.may)
    }
}

/// `GET /jobs/{id}`
pub(crate) async fn show(
    visit: Visit,
    request: HttpRequest,
    id: web::Path<i64>,
    asked: web::Query<Asked>,
) -> Result<HttpResponse, Problem> {
    let limit = if asked.all.is_some() {
        WHOLE_JSON_LIMIT
    } else {
        JSON_LIMIT
    };
    let hides = jobs::redaction(&visit).clone();
    let from = (!panels::is_refresh(&request)).then(|| asked.into_inner().from);
    render(&visit, *id, &hides, limit, from).await
}

/// `POST /jobs/{id}/reveal`: the same page with what is hidden, once; the audit knows who saw it.
pub(crate) async fn reveal(
    visit: Visit,
    id: web::Path<i64>,
    asked: web::Query<Asked>,
) -> Result<HttpResponse, Problem> {
    let id = id.into_inner();
    look(&visit, id, None).await?;
    let (hides, from) = (Redaction::nothing(), Some(asked.into_inner().from));
    render(&visit, id, &hides, WHOLE_JSON_LIMIT, from).await
}

/// Writes into the audit that the visitor sees what is hidden of a job.
pub(crate) async fn look(visit: &Visit, id: i64, reason: Option<&str>) -> Result<(), Problem> {
    let mut look = admin::reveal(id).by(visit.access.actor());
    if let Some(reason) = given(reason) {
        look = look.because(reason);
    }
    let seen = visit
        .database()
        .write(|conn| look.run_async(conn).boxed())
        .await?;
    seen.map(|_| ()).ok_or_else(|| missing(id))
}

/// `GET /jobs/{id}/payload.json`
pub(crate) async fn download(visit: Visit, id: web::Path<i64>) -> Result<HttpResponse, Problem> {
    let job = read(&visit, *id).await?;
    let shown = jobs::redaction(&visit).compact(&job.payload, WHOLE_JSON_LIMIT);
    Ok(HttpResponse::Ok()
        .content_type("application/json")
        .insert_header((
            "content-disposition",
            format!("attachment; filename=\"job-{id}.json\""),
        ))
        .body(shown.text))
}

/// Reads a job, or says that there is none.
pub(crate) async fn read(visit: &Visit, id: i64) -> Result<Record, Problem> {
    let found = visit
        .database()
        .read(move |conn| admin::job_async(conn, id).boxed())
        .await?;
    found.ok_or_else(|| missing(id))
}

pub(crate) fn missing(id: i64) -> Problem {
    Problem::not_found(
        format!("there is no job {id}"),
        "it was purged, or its retention is over: completed jobs are kept for a day unless the worker says else",
    )
}

async fn render(
    visit: &Visit,
    id: i64,
    hides: &Redaction,
    limit: usize,
    from: Option<From>,
) -> Result<HttpResponse, Problem> {
    let (job, reasons, deeds) = told(visit, id).await?;
    let beside = match from {
        Some(from) => beside::read(visit, &from, &job).await,
        None => None,
    };
    let may_see = visit.may(Permissions::VIEW_PAYLOAD);
    let documents = if may_see {
        documents(&job, hides, limit)
    } else {
        Vec::new()
    };
    let frame = visit.frame(Section::Jobs, format!("Job {id}"));
    let page = JobPage {
        state: state(&job, frame.now),
        failures: job.failures(),
        tags: tags(&frame.base, &job),
        likes: likes(&frame.base, &job),
        deeds: deeds_shown(deeds, hides),
        cloned_from: job.cloned_from(),
        is_revealed: hides.hides_nothing(),
        has_hidden: documents.iter().any(|document| document.shown.hidden > 0),
        copies: copy_as::job(visit, id, job.state),
        documents,
        beside,
        query: query(visit),
        reasons,
        job,
        frame,
    };
    visit.page(&page)
}

/// Gives what the address says behind its path.
pub(super) fn query(visit: &Visit) -> String {
    let query = visit.here.split_once('?');
    query.map_or_else(String::new, |(_, query)| format!("?{query}"))
}

/// Reads a job, why it stands as it does, and what was done to it.
pub(crate) async fn told(
    visit: &Visit,
    id: i64,
) -> Result<(Record, Vec<Reason>, Vec<Deed>), Problem> {
    let read = visit.database().read(move |conn| load(conn, id).boxed());
    read.await?.ok_or_else(|| missing(id))
}

/// Gives the details of a deed that somebody with these permissions may see: those of an edit repeat parts of the payload.
pub(crate) fn details(deed: &Deed, may: Permissions) -> Option<&str> {
    let tells = deed.details != "{}"
        && (may.contains(Permissions::VIEW_PAYLOAD) || !deed.action.starts_with("edit"));
    tells.then_some(deed.details.as_str())
}

async fn load(
    conn: &mut AsyncPgConnection,
    id: i64,
) -> Result<Option<(Record, Vec<Reason>, Vec<Deed>)>, Error> {
    let Some(job) = admin::job_async(conn, id).await? else {
        return Ok(None);
    };
    let reasons = admin::why_async(conn, id).await?;
    let deeds = admin::deeds_async(conn, id).await?;
    Ok(Some((job, reasons, deeds)))
}

fn deeds_shown(mut deeds: Vec<Deed>, hides: &Redaction) -> Vec<Deed> {
    for deed in &mut deeds {
        deed.details = hides.compact(&deed.details, 2000).text;
    }
    deeds
}

fn documents(job: &Record, hides: &Redaction, limit: usize) -> Vec<Document> {
    let all = [
        ("payload", "Payload", Some(&job.payload)),
        ("metadata", "Metadata", job.metadata.as_ref()),
        ("progress", "Progress", job.progress.as_ref()),
        ("output", "Output", job.output.as_ref()),
    ];
    let document = |(id, title, json): (&'static str, &'static str, Option<&String>)| {
        let shown = hides.pretty(json?, limit);
        Some(Document { id, title, shown })
    };
    all.into_iter().filter_map(document).collect()
}

fn state(job: &Record, now: DateTime<Utc>) -> &'static str {
    match job.state {
        JobState::Pending if job.run_at > now => rows::later(job.attempt),
        state => state.name(),
    }
}

fn tags(base: &str, job: &Record) -> Vec<Like> {
    let like = |tag: String| Like {
        name: "tag",
        href: jobs::link(base, &Term::Tag(tag.clone()).to_string()),
        value: tag,
    };
    job.tags().into_iter().map(like).collect()
}

fn likes(base: &str, job: &Record) -> Vec<Like> {
    let like = |name, value: &str, term: Term| Like {
        name,
        value: value.to_owned(),
        href: jobs::link(base, &term.to_string()),
    };
    let mut likes = vec![
        like("Kind", &job.kind, Term::Kind(job.kind.clone())),
        like("Queue", &job.queue, Term::Queue(job.queue.clone())),
    ];
    if let Some(key) = &job.unique_key {
        likes.push(like("Unique key", key, Term::Key(key.clone())));
    }
    likes
}

impl JobPage {
    fn sentence(&self, reason: &Reason) -> String {
        sentence(&self.job, reason, self.frame.now)
    }
}
