//! Queues: how full, how late and how quick they are; and the brake of each.

use std::sync::Arc;

use actix_web::http::header;
use actix_web::{HttpResponse, web};
use askama::Template;
use futures_util::FutureExt as _;
use pgqueue_core::admin;
use pgqueue_core::stats::{self, KindStats, PauseChange, QueueStats, Scope};
use pgqueue_core::workers::WorkerStats;
use serde::Deserialize;

use super::panels::{self, Charts, QueueRow};
use crate::frame::{Frame, Section};
use crate::link;
use crate::live::Snapshot;
use crate::pages::job_actions::given;
use crate::problem::Problem;
use crate::span::Span;
use crate::visit::Visit;

/// Longest reason in bytes.
const REASON_LIMIT: usize = 1000;

#[derive(Template)]
#[template(path = "queues.html")]
struct Queues {
    frame: Frame,
    snapshot: Arc<Snapshot>,
    rows: Vec<QueueRow>,
}

/// `GET /queues`
pub(crate) async fn list(visit: Visit) -> Result<HttpResponse, Problem> {
    let snapshot = visit.dashboard.inner.live.snapshot().await?;
    visit.page(&Queues {
        frame: visit.frame(Section::Queues, "Queues"),
        rows: panels::queue_rows(&snapshot),
        snapshot,
    })
}

#[derive(Template)]
#[template(path = "queue.html")]
struct Queue {
    frame: Frame,
    snapshot: Arc<Snapshot>,
    row: QueueRow,
    known: bool,
    charts: Charts,
    kinds: Vec<KindOf>,
    workers: Vec<WorkerStats>,
    changes: Vec<PauseChange>,
    jobs_path: String,
}

/// A kind that ran in the queue within the last hour.
struct KindOf {
    stats: KindStats,
    path: String,
    failure_share: String,
}

impl Queue {
    /// The change that paused the queue, if the audit still tells: both were written in one transaction, at one time.
    fn pause(&self) -> Option<&PauseChange> {
        let paused_at = self.row.stats.paused_at?;
        self.changes
            .iter()
            .find(|change| change.action == "pause" && change.at == paused_at)
    }
}

/// What the address of a queue says.
#[derive(Debug, Deserialize)]
pub(crate) struct Asked {
    name: String,
    span: Option<String>,
}

/// `GET /queue?name=…`
pub(crate) async fn show(visit: Visit, asked: web::Query<Asked>) -> Result<HttpResponse, Problem> {
    let Asked { name, span } = asked.into_inner();
    let snapshot = visit.dashboard.inner.live.snapshot().await?;
    let of = name.clone();
    let changes = visit
        .database()
        .read(move |conn| async move { stats::pause_changes_async(conn, &of).await }.boxed());
    let span = Span::parse(span.as_deref());
    let scope = Scope::default().queue(&name);
    let charts = panels::charts(&visit, span, scope, "/queue", &[("name", &name)]).await;
    let found = snapshot.queues.iter().find(|queue| queue.queue == name);
    let stats = found.cloned().unwrap_or_else(|| QueueStats::empty(&name));
    visit.page(&Queue {
        frame: visit.frame(Section::Queues, format!("Queue {name}")),
        known: found.is_some(),
        row: QueueRow::of(&snapshot, &stats),
        charts,
        kinds: kinds(&snapshot, &name),
        workers: serving(&snapshot, &name),
        changes: changes.await?,
        jobs_path: link::jobs(&[("queue", &name)]),
        snapshot,
    })
}

fn kinds(snapshot: &Snapshot, queue: &str) -> Vec<KindOf> {
    let of_queue = snapshot.hour.iter().filter(|kind| kind.queue == queue);
    of_queue
        .map(|kind| KindOf {
            path: link::kind(&kind.kind),
            failure_share: panels::share(
                kind.failed + kind.lost,
                kind.completed + kind.failed + kind.lost,
            ),
            stats: kind.clone(),
        })
        .collect()
}

fn serving(snapshot: &Snapshot, queue: &str) -> Vec<WorkerStats> {
    let serves = |worker: &&WorkerStats| worker.queues.iter().any(|(name, _)| name == queue);
    snapshot.workers.iter().filter(serves).cloned().collect()
}

/// `GET /queues/{queue}`: the address one would guess.
pub(crate) async fn moved(visit: Visit, name: web::Path<String>) -> HttpResponse {
    let path = format!("{}{}", visit.base, link::queue(&name));
    HttpResponse::SeeOther()
        .insert_header((header::LOCATION, path))
        .finish()
}

/// The form of a pause and of a resume.
#[derive(Debug, Deserialize)]
pub(crate) struct Form {
    queue: String,
    #[serde(default)]
    reason: String,
}

/// `POST /queue/pause`
pub(crate) async fn pause(visit: Visit, form: web::Form<Form>) -> Result<HttpResponse, Problem> {
    act(visit, form.into_inner(), true).await
}

/// `POST /queue/resume`
pub(crate) async fn resume(visit: Visit, form: web::Form<Form>) -> Result<HttpResponse, Problem> {
    act(visit, form.into_inner(), false).await
}

async fn act(visit: Visit, form: Form, pauses: bool) -> Result<HttpResponse, Problem> {
    if form.reason.len() > REASON_LIMIT {
        let detail = format!("the reason is longer than {REASON_LIMIT} bytes");
        return Err(Problem::invalid(detail, "shorten it"));
    }
    let queue = form.queue.clone();
    let mut action = if pauses {
        admin::pause(&queue)
    } else {
        admin::resume(&queue)
    };
    if !visit.access.actor().is_empty() {
        action = action.by(visit.access.actor());
    }
    if let Some(reason) = given(Some(&form.reason)) {
        action = action.because(reason);
    }
    let changed = visit
        .database()
        .write(move |conn| async move { action.run_async(conn).await }.boxed())
        .await?;
    let notice = match (changed, pauses) {
        (true, true) => {
            format!("Queue “{queue}” is paused: what runs goes on, nothing new is claimed.")
        }
        (true, false) => format!("Queue “{queue}” runs again."),
        (false, true) => format!("Queue “{queue}” was paused already."),
        (false, false) => format!("Queue “{queue}” was not paused."),
    };
    Ok(visit.go(&link::queue(&queue), &notice))
}
