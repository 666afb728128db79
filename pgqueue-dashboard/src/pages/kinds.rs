//! Kinds: how often they run and fail, how long they take and wait, and who can run them.

use std::collections::BTreeMap;
use std::sync::Arc;

use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, web};
use askama::Template;
use futures_util::FutureExt as _;
use pgqueue_core::admin::{self, Filter};
use pgqueue_core::stats::{Histogram, KindStats, Scope};
use serde::Deserialize;

use super::panels::{self, Charts, SpanLink};
use crate::access::Permissions;
use crate::chart::{self, Chart};
use crate::frame::{Frame, Section};
use crate::json::Shown;
use crate::link;
use crate::live::Snapshot;
use crate::problem::Problem;
use crate::show;
use crate::span::Span;
use crate::visit::Visit;

/// Jobs that are looked through for an example of a payload.
const EXAMPLE_VISITS: u16 = 5000;
/// Most of an example in bytes.
const EXAMPLE_LIMIT: usize = 4096;

/// A kind over a span, in all its queues.
struct KindRow {
    kind: String,
    path: String,
    queues: Vec<String>,
    completed: i64,
    failed: i64,
    dead: i64,
    run: Histogram,
    wait: Histogram,
    /// Live workers that know it.
    workers: usize,
}

impl KindRow {
    fn new(kind: &str, snapshot: &Snapshot) -> Self {
        let knows = |worker: &&pgqueue_core::workers::WorkerStats| {
            worker.live && worker.kinds.iter().any(|known| known == kind)
        };
        Self {
            kind: kind.to_owned(),
            path: link::kind(kind),
            queues: Vec::new(),
            completed: 0,
            failed: 0,
            dead: 0,
            run: Histogram::default(),
            wait: Histogram::default(),
            workers: snapshot.workers.iter().filter(knows).count(),
        }
    }

    fn add(&mut self, stats: &KindStats) {
        self.queues.push(stats.queue.clone());
        self.completed += stats.completed;
        self.failed += stats.failed + stats.lost;
        self.dead += stats.dead;
        self.run.merge(&stats.run);
        self.wait.merge(&stats.wait);
    }

    fn runs(&self) -> i64 {
        self.completed + self.failed
    }

    fn runs_text(&self) -> String {
        show::count(self.runs())
    }

    fn failure_share(&self) -> String {
        panels::share(self.failed, self.runs())
    }

    fn took(&self, share: f64) -> String {
        written(&self.run, share)
    }

    fn waited(&self, share: f64) -> String {
        written(&self.wait, share)
    }
}

/// Writes a percentile: an upper bound.
fn written(histogram: &Histogram, share: f64) -> String {
    let bound = histogram.percentile(share);
    bound.map_or_else(
        || "–".to_owned(),
        |bound| format!("≤ {}", show::span(bound)),
    )
}

#[derive(Template)]
#[template(path = "kinds.html")]
struct Kinds {
    frame: Frame,
    snapshot: Arc<Snapshot>,
    spans: Vec<SpanLink>,
    span: Span,
    rows: Vec<KindRow>,
}

/// What the address of the list says.
#[derive(Debug, Deserialize)]
pub(crate) struct Asked {
    span: Option<String>,
}

/// `GET /kinds`
pub(crate) async fn list(visit: Visit, asked: web::Query<Asked>) -> Result<HttpResponse, Problem> {
    let live = &visit.dashboard.inner.live;
    let snapshot = live.snapshot().await?;
    let span = Span::parse(asked.span.as_deref().or(Some("24h")));
    let counted = live.kinds(span).await?;
    visit.page(&Kinds {
        frame: visit.frame(Section::Kinds, "Kinds"),
        spans: panels::span_links(span, "/kinds", &[]),
        span,
        rows: rows(&snapshot, &counted),
        snapshot,
    })
}

/// Puts the queues of each kind together; kinds that workers know and that did not run are listed, too.
fn rows(snapshot: &Snapshot, counted: &[KindStats]) -> Vec<KindRow> {
    let mut rows: BTreeMap<&str, KindRow> = BTreeMap::new();
    let known = snapshot
        .workers
        .iter()
        .filter(|worker| worker.live)
        .flat_map(|worker| &worker.kinds);
    for kind in known {
        rows.entry(kind)
            .or_insert_with(|| KindRow::new(kind, snapshot));
    }
    for stats in counted {
        let row = rows.entry(&stats.kind);
        row.or_insert_with(|| KindRow::new(&stats.kind, snapshot))
            .add(stats);
    }
    rows.into_values().collect()
}

#[derive(Template)]
#[template(path = "kind.html")]
struct Kind {
    frame: Frame,
    snapshot: Arc<Snapshot>,
    span: Span,
    row: KindRow,
    queues: Vec<(String, String)>,
    charts: Charts,
    took: Chart,
    waited: Chart,
    jobs_path: String,
    dead_path: String,
    example: Example,
}

/// The payload of the newest job of a kind.
enum Example {
    /// The page only brings itself up to date, and this does not change under the reader.
    Kept,
    Forbidden,
    /// None was among the newest jobs.
    None,
    /// The rest of the page does not depend on it.
    Unread(Problem),
    Of {
        id: i64,
        shown: Shown,
    },
}

/// What the address of a kind says.
#[derive(Debug, Deserialize)]
pub(crate) struct AskedKind {
    name: String,
    span: Option<String>,
}

/// `GET /kind?name=…`
pub(crate) async fn show(
    visit: Visit,
    request: HttpRequest,
    asked: web::Query<AskedKind>,
) -> Result<HttpResponse, Problem> {
    let AskedKind { name, span } = asked.into_inner();
    let live = &visit.dashboard.inner.live;
    let snapshot = live.snapshot().await?;
    let span = Span::parse(span.as_deref());
    let counted = live.kinds(span).await?;
    let mut row = KindRow::new(&name, &snapshot);
    for stats in counted.iter().filter(|stats| stats.kind == name) {
        row.add(stats);
    }
    let scope = Scope::default().kind(&name);
    let charts = panels::charts(&visit, span, scope, "/kind", &[("name", &name)]).await;
    let example = if panels::is_refresh(&request) {
        Example::Kept
    } else {
        example(&visit, &name).await
    };
    visit.page(&Kind {
        frame: visit.frame(Section::Kinds, format!("Kind {name}")),
        queues: row
            .queues
            .iter()
            .map(|queue| (queue.clone(), link::queue(queue)))
            .collect(),
        took: chart::lengths("lengths", "Run times", &row.run),
        waited: chart::lengths("waits", "Waits", &row.wait),
        jobs_path: link::jobs(&[("kind", &name)]),
        dead_path: link::jobs(&[("state", "dead"), ("kind", &name)]),
        example,
        span,
        row,
        charts,
        snapshot,
    })
}

/// Reads an example of a payload, if one is near: kinds have no index, so the newest jobs are walked.
async fn example(visit: &Visit, kind: &str) -> Example {
    if !visit.may(Permissions::VIEW_PAYLOAD) {
        return Example::Forbidden;
    }
    let newest = admin::find(Filter::new().kind(kind))
        .size(1)
        .visit_at_most(EXAMPLE_VISITS);
    let read = visit.database().read(move |conn| {
        async move {
            let newest = newest.run_async(conn).await?.jobs.pop();
            match newest {
                Some(job) => admin::job_async(conn, job.id).await,
                None => Ok(None),
            }
        }
        .boxed()
    });
    match read.await {
        Ok(Some(job)) => Example::Of {
            id: job.id,
            shown: visit
                .dashboard
                .inner
                .redaction
                .pretty(&job.payload, EXAMPLE_LIMIT),
        },
        Ok(None) => Example::None,
        Err(problem) => Example::Unread(problem),
    }
}

/// `GET /kinds/{kind}`: the address one would guess.
pub(crate) async fn moved(visit: Visit, name: web::Path<String>) -> HttpResponse {
    let path = format!("{}{}", visit.base, link::kind(&name));
    HttpResponse::SeeOther()
        .insert_header((header::LOCATION, path))
        .finish()
}
