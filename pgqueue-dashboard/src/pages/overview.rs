//! What is wrong, in one sentence, and what leads to the cause.

use std::sync::Arc;

use actix_web::{HttpResponse, web};
use askama::Template;
use pgqueue_core::JobState;
use pgqueue_core::admin::Operation;
use pgqueue_core::stats::CauseStats;
use pgqueue_core::stats::{Count, Scope};
use serde::Deserialize;

use super::panels::{self, Charts, QueueRow};
use crate::frame::{Frame, Section};
use crate::health::{self, Health};
use crate::link;
use crate::live::{Causes, Snapshot};
use crate::problem::Problem;
use crate::show;
use crate::span::Span;
use crate::visit::Visit;

/// Most workers and kinds listed here; their pages have all.
const LISTED: usize = 6;

#[derive(Template)]
#[template(path = "overview.html")]
struct Overview {
    frame: Frame,
    snapshot: Arc<Snapshot>,
    health: Health,
    tiles: Vec<Tile>,
    charts: Charts,
    late: Vec<QueueRow>,
    causes: Result<Causes, Problem>,
    /// Bulk operations that are at work, wait for somebody, or failed within a day.
    operations: Result<Arc<Vec<Operation>>, Problem>,
}

/// A number of the top row.
struct Tile {
    icon: &'static str,
    label: &'static str,
    value: String,
    note: &'static str,
    path: String,
    /// Where it is counted exactly, if this number is not.
    exact: Option<String>,
}

impl Overview {
    /// Is true when nothing was ever enqueued: then the page says how.
    fn is_new(&self) -> bool {
        self.snapshot.queues.is_empty() && self.snapshot.hour.is_empty()
    }

    fn live_workers(&self) -> usize {
        self.snapshot
            .workers
            .iter()
            .filter(|worker| worker.live)
            .count()
    }

    fn workers(&self) -> impl Iterator<Item = &pgqueue_core::workers::WorkerStats> {
        self.snapshot.workers.iter().take(LISTED)
    }

    fn top<'a>(&self, causes: &'a Causes) -> impl Iterator<Item = &'a CauseStats> + use<'a> {
        causes.all.iter().take(LISTED)
    }

    fn queue_path(&self, name: &str) -> String {
        link::queue(name)
    }
}

/// What the address may say.
#[derive(Debug, Deserialize)]
pub(crate) struct Asked {
    span: Option<String>,
    exact: Option<String>,
}

/// `GET /`
pub(crate) async fn show(visit: Visit, asked: web::Query<Asked>) -> Result<HttpResponse, Problem> {
    let snapshot = visit.dashboard.inner.live.snapshot().await?;
    let span = Span::parse(asked.span.as_deref());
    let charts = panels::charts(&visit, span, Scope::default(), "/", &[]).await;
    let exact: Option<JobState> = asked.exact.as_deref().and_then(|state| state.parse().ok());
    let counted = match exact {
        Some(state) => {
            let counted = visit.dashboard.inner.live.count(state).await;
            Some((state, counted.map(|(_, count)| count)))
        }
        None => None,
    };
    let causes = visit
        .dashboard
        .inner
        .live
        .causes()
        .await
        .map(|causes| recent(&causes));
    let operations = visit.dashboard.inner.live.operations_at_work().await;
    let counted_causes = causes.as_ref().ok().map(|causes| causes.all.len());
    visit.page(&Overview {
        frame: visit.frame(Section::Overview, "Overview"),
        health: health::health(&snapshot.queues, &snapshot.hour, counted_causes),
        tiles: tiles(&snapshot, counted.as_ref(), span),
        charts,
        late: panels::queue_rows(&snapshot)
            .into_iter()
            .filter(QueueRow::is_late)
            .collect(),
        causes,
        operations,
        snapshot,
    })
}

/// Gives the causes of the last hour, the most frequent first.
pub(crate) fn recent(causes: &Causes) -> Causes {
    let died = |cause: &&CauseStats| cause.last_hour.at_least > 0;
    let mut all: Vec<CauseStats> = causes.all.iter().filter(died).cloned().collect();
    all.sort_by_key(|cause| -cause.last_hour.at_least);
    Causes { at: causes.at, all }
}

type Counted = (JobState, Result<i64, Problem>);

fn tiles(snapshot: &Snapshot, counted: Option<&Counted>, span: Span) -> Vec<Tile> {
    let pending = |icon, label, note, count| Tile {
        icon,
        label,
        value: show::at_least(count),
        note,
        path: link::jobs(&[("state", "pending")]),
        exact: None,
    };
    let due = snapshot.total(|queue| queue.due);
    let scheduled = snapshot.total(|queue| queue.scheduled);
    let mut tiles = vec![
        pending("pending", "due", "may run now", due),
        pending("scheduled", "scheduled", "retries among them", scheduled),
    ];
    tiles.extend(
        [
            (JobState::Running, snapshot.total(|queue| queue.running)),
            (JobState::Completed, snapshot.total(|queue| queue.completed)),
            (JobState::Cancelled, snapshot.total(|queue| queue.cancelled)),
            (JobState::Dead, snapshot.total(|queue| queue.dead)),
        ]
        .map(|(state, count)| tile(snapshot, counted, span, state, count)),
    );
    tiles
}

fn tile(
    snapshot: &Snapshot,
    counted: Option<&Counted>,
    span: Span,
    state: JobState,
    count: Count,
) -> Tile {
    let path = match state {
        JobState::Dead => "/dead".to_owned(),
        _ => link::jobs(&[("state", state.name())]),
    };
    let about = snapshot
        .estimates
        .iter()
        .find(|estimate| estimate.state == state);
    let about = about.and_then(|estimate| estimate.about);
    let again = || {
        Some(link::with(
            "/",
            &[("span", span.name), ("exact", state.name())],
        ))
    };
    let (value, note, exact) = match (counted.filter(|(of, _)| *of == state), about) {
        (Some((_, Ok(count))), _) => (show::count(*count), "counted within a minute", None),
        _ if count.exact => (show::at_least(count), note(state), None),
        (Some((_, Err(_))), _) => (show::at_least(count), "too many to count in time", again()),
        (None, Some(about)) if about >= as_float(count.at_least) => {
            (show::about(about), "estimated", again())
        }
        (None, _) => (show::at_least(count), "or more", again()),
    };
    Tile {
        icon: state.name(),
        label: state.name(),
        value,
        note,
        path,
        exact,
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "it is compared with an estimate"
)]
fn as_float(count: i64) -> f64 {
    count as f64
}

fn note(state: JobState) -> &'static str {
    match state {
        JobState::Running => "claimed by workers",
        JobState::Dead => "wait for a decision",
        _ => "kept by retention",
    }
}
