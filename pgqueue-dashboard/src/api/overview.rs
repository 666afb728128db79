//! What the overview and its charts show, for programs.

use actix_web::{HttpResponse, web};
use pgqueue_core::JobState;
use pgqueue_core::stats::{Count, OldestWaiting, Point, QueueStats, Scope};
use serde::Deserialize;
use serde_json::{Value, json};

use super::read::{answer, percentiles};
use crate::health::{self, Health};
use crate::live::Snapshot;
use crate::pages::overview::recent;
use crate::problem::Problem;
use crate::span::{SPANS, Span};
use crate::visit::Visit;

/// The query of the overview.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Asked {
    exact: Option<JobState>,
}

/// `GET /api/v1/overview`
pub(crate) async fn show(visit: Visit, asked: web::Query<Asked>) -> Result<HttpResponse, Problem> {
    let live = &visit.dashboard.inner.live;
    let snapshot = live.snapshot().await?;
    let causes = live
        .causes()
        .await
        .ok()
        .map(|causes| recent(&causes).all.len());
    let mut states = states(&snapshot);
    if let Some(state) = asked.exact {
        let (at, counted) = live.count(state).await?;
        states[state.name()] = json!({ "at_least": counted, "exact": true, "counted_at": at });
    }
    let waiting: Vec<Value> = snapshot.waiting.iter().map(waiting).collect();
    let lives = snapshot.workers.iter().filter(|worker| worker.live);
    Ok(answer(&json!({
        "at": snapshot.at,
        "counted_at": snapshot.counted_at,
        "health": health_of(&visit, &snapshot, causes),
        "states": states,
        "oldest_waiting": waiting,
        "live_workers": lives.count(),
    })))
}

/// The sentence, and each of its facts.
fn health_of(visit: &Visit, snapshot: &Snapshot, causes: Option<usize>) -> Value {
    let health = health::health(&snapshot.queues, &snapshot.hour, causes);
    let named = |holds: fn(&QueueStats) -> bool| -> Vec<&str> {
        let queues = snapshot.queues.iter().filter(|queue| holds(queue));
        queues.map(|queue| queue.queue.as_str()).collect()
    };
    let late = snapshot
        .queues
        .iter()
        .filter(|queue| health::is_late(queue));
    let late = late.map(|queue| {
        let seconds = queue.oldest_due.map(|wait| wait.as_secs_f64());
        json!({ "queue": queue.queue, "oldest_due_seconds": seconds })
    });
    json!({
        "level": health.class(),
        "text": health.text(),
        "parts": parts(visit, &health),
        "unserved_queues": named(health::is_unserved),
        "late_queues": late.collect::<Vec<_>>(),
        "paused_queues": named(health::is_held),
        "died_last_hour": health::died(&snapshot.hour),
        "causes_last_hour": causes,
    })
}

fn parts(visit: &Visit, health: &Health) -> Vec<Value> {
    let parts = health.parts.iter().map(|part| {
        let path = part.link.as_ref();
        let path = path.map(|path| format!("{}{path}", visit.base));
        json!({ "text": part.text, "path": path })
    });
    parts.collect()
}

fn states(snapshot: &Snapshot) -> Value {
    let total = |of: fn(&QueueStats) -> Count| json!(snapshot.total(of));
    json!({
        "pending": total(|queue| queue.pending),
        "due": total(|queue| queue.due),
        "scheduled": total(|queue| queue.scheduled),
        "running": total(|queue| queue.running),
        "completed": total(|queue| queue.completed),
        "cancelled": total(|queue| queue.cancelled),
        "dead": total(|queue| queue.dead),
    })
}

fn waiting(job: &OldestWaiting) -> Value {
    json!({
        "id": job.id,
        "queue": job.queue,
        "kind": job.kind,
        "priority": job.priority,
        "attempt": job.attempt,
        "due_at": job.due_at,
        "queue_is_paused": job.paused,
    })
}

/// The query of a timeline.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Drawn {
    span: Option<String>,
    queue: Option<String>,
    kind: Option<String>,
}

impl Drawn {
    fn span(&self) -> Result<Span, Problem> {
        let span = Span::parse(self.span.as_deref());
        match &self.span {
            Some(name) if *name != span.name => {
                let names = SPANS.map(|span| span.name).join(", ");
                let detail = format!("{name:?} is no span");
                Err(Problem::invalid(detail, format!("choose one of {names}")))
            }
            _ => Ok(span),
        }
    }

    fn scope(&self) -> Scope {
        let mut scope = Scope::default();
        if let Some(queue) = &self.queue {
            scope = scope.queue(queue);
        }
        if let Some(kind) = &self.kind {
            scope = scope.kind(kind);
        }
        scope
    }
}

/// `GET /api/v1/timeline`
pub(crate) async fn timeline(
    visit: Visit,
    drawn: web::Query<Drawn>,
) -> Result<HttpResponse, Problem> {
    let span = drawn.span()?;
    let live = &visit.dashboard.inner.live;
    let timeline = live.timeline(span, drawn.scope()).await?;
    Ok(answer(&json!({
        "span": span.name,
        "from": timeline.from,
        "to": timeline.to,
        "step_seconds": timeline.step.as_secs(),
        "steps": timeline.points.iter().map(step).collect::<Vec<_>>(),
    })))
}

fn step(point: &Point) -> Value {
    json!({
        "at": point.at,
        "completed": point.completed,
        "failed": point.failed,
        "dead": point.dead,
        "cancelled": point.cancelled,
        "snoozed": point.snoozed,
        "lost": point.lost,
        "run_ms": percentiles(&point.run),
        "wait_ms": percentiles(&point.wait),
    })
}
