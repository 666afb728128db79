//! What machines ask: is the process up, may it get requests, and numbers for Prometheus.

use std::fmt::{self, Write as _};

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use pgqueue_core::stats::{KindStats, QueueStats};
use pgqueue_core::workers::WorkerStats;

use crate::problem::Problem;
use crate::visit::Visit;

/// Most queues, and most kinds, that have series of their own.
const SERIES: usize = 200;

/// `GET /healthz`: the process is up. It asks nobody else.
pub(crate) async fn healthz() -> HttpResponse {
    tell(true)
}

/// `GET /readyz`: the database answers and has our tables. It tells no more: it may be open to everybody.
pub(crate) async fn readyz(visit: Visit) -> HttpResponse {
    let operations = &visit.dashboard.inner.operations;
    tell(operations.ready(visit.database()).await)
}

fn tell(good: bool) -> HttpResponse {
    let (status, text) = if good {
        (StatusCode::OK, "ok\n")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "unavailable\n")
    };
    HttpResponse::build(status)
        .content_type("text/plain; charset=utf-8")
        .body(text)
}

/// `GET /metrics`, in the text format of Prometheus.
pub(crate) async fn metrics(visit: Visit) -> Result<HttpResponse, Problem> {
    let inner = &visit.dashboard.inner;
    let snapshot = inner.live.snapshot().await?;
    let workers = inner.operations.workers(&inner.database).await?;
    let kinds = inner.operations.kinds(&inner.database).await?;
    let mut text = Text::default();
    write_queues(&mut text, &snapshot.queues);
    write_workers(&mut text, &workers);
    write_kinds(&mut text, &kinds);
    let (used, all) = inner.database.connections();
    text.head(
        "pgqueue_dashboard_connections_busy",
        "Connections of the dashboard in use.",
    );
    text.line("pgqueue_dashboard_connections_busy", &[], used);
    text.head(
        "pgqueue_dashboard_connections_limit",
        "Most connections of the dashboard.",
    );
    text.line("pgqueue_dashboard_connections_limit", &[], all);
    let left = snapshot.queues.len().saturating_sub(SERIES) + kinds.len().saturating_sub(SERIES);
    text.head(
        "pgqueue_series_left_out",
        "Queues and kinds beyond the first 200, which have no series.",
    );
    text.line("pgqueue_series_left_out", &[], left);
    Ok(HttpResponse::Ok()
        .content_type("text/plain; version=0.0.4; charset=utf-8")
        .body(text.0))
}

fn write_queues(text: &mut Text, queues: &[QueueStats]) {
    let queues = &queues[..queues.len().min(SERIES)];
    text.head(
        "pgqueue_jobs",
        "Jobs by queue and state, counted up to 10000; see pgqueue_jobs_exact.",
    );
    each_count(queues, |labels, count, _| {
        text.line("pgqueue_jobs", labels, count);
    });
    text.head(
        "pgqueue_jobs_exact",
        "1 if pgqueue_jobs is the whole count, 0 if there may be more.",
    );
    each_count(queues, |labels, _, exact| {
        text.line("pgqueue_jobs_exact", labels, u8::from(exact));
    });
    text.head(
        "pgqueue_oldest_due_seconds",
        "How long the oldest due job has waited; 0 if none waits.",
    );
    for queue in queues {
        let age = queue.oldest_due.unwrap_or_default().as_secs_f64();
        text.line(
            "pgqueue_oldest_due_seconds",
            &[("queue", &queue.queue)],
            age,
        );
    }
    text.head("pgqueue_queue_paused", "1 while the queue is paused.");
    for queue in queues {
        let paused = u8::from(queue.paused_at.is_some());
        text.line("pgqueue_queue_paused", &[("queue", &queue.queue)], paused);
    }
    text.head(
        "pgqueue_queue_workers",
        "Live workers that serve the queue.",
    );
    for queue in queues {
        text.line(
            "pgqueue_queue_workers",
            &[("queue", &queue.queue)],
            queue.workers,
        );
    }
}

fn each_count(queues: &[QueueStats], mut tell: impl FnMut(&[(&str, &str)], i64, bool)) {
    for queue in queues {
        let counts = [
            ("pending", queue.pending),
            ("running", queue.running),
            ("completed", queue.completed),
            ("cancelled", queue.cancelled),
            ("dead", queue.dead),
        ];
        for (state, count) in counts {
            let labels = [("queue", queue.queue.as_str()), ("state", state)];
            tell(&labels, count.at_least, count.exact);
        }
    }
}

fn write_workers(text: &mut Text, workers: &[WorkerStats]) {
    let live = workers.iter().filter(|worker| worker.live).count();
    text.head(
        "pgqueue_workers",
        "Registered workers by whether their lease holds.",
    );
    text.line("pgqueue_workers", &[("lease", "live")], live);
    text.line(
        "pgqueue_workers",
        &[("lease", "stale")],
        workers.len() - live,
    );
    let slots = workers.iter().filter(|worker| worker.live);
    text.head(
        "pgqueue_worker_slots",
        "Slots of all queues of the live workers; a worker whose queues share a limit runs fewer jobs at once.",
    );
    text.line(
        "pgqueue_worker_slots",
        &[],
        slots.map(WorkerStats::concurrency).sum::<i64>(),
    );
}

/// Gauges of the last hour, not counters: workers fold and delete old counts, so a sum over all of them may fall.
fn write_kinds(text: &mut Text, kinds: &[KindStats]) {
    text.head(
        "pgqueue_runs_last_hour",
        "Runs that ended in the last hour, by how.",
    );
    for kind in kinds.iter().take(SERIES) {
        let outcomes = [
            ("completed", kind.completed),
            ("failed", kind.failed),
            ("dead", kind.dead),
            ("cancelled", kind.cancelled),
            ("snoozed", kind.snoozed),
            ("lost", kind.lost),
        ];
        for (outcome, count) in outcomes {
            let labels = [
                ("queue", kind.queue.as_str()),
                ("kind", kind.kind.as_str()),
                ("outcome", outcome),
            ];
            text.line("pgqueue_runs_last_hour", &labels, count);
        }
    }
}

/// An answer in the making.
#[derive(Default)]
struct Text(String);

impl Text {
    fn head(&mut self, name: &str, help: &str) {
        let _ = write!(self.0, "# HELP {name} {help}\n# TYPE {name} gauge\n");
    }

    fn line(&mut self, name: &str, labels: &[(&str, &str)], value: impl fmt::Display) {
        self.0.push_str(name);
        for (position, (label, text)) in labels.iter().enumerate() {
            self.0.push(if position == 0 { '{' } else { ',' });
            let _ = write!(self.0, "{label}=\"{}\"", escaped(text));
        }
        if !labels.is_empty() {
            self.0.push('}');
        }
        let _ = writeln!(self.0, " {value}");
    }
}

/// Escapes a label's value as the format wants it.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}
