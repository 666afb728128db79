//! What several pages show: charts over a span of time, and queues with what they do.

use std::sync::Arc;
use std::time::Duration;

use actix_web::HttpRequest;
use pgqueue_core::stats::{KindStats, QueueStats, Scope};

use crate::chart::{self, Chart, Spark};
use crate::health;
use crate::link;
use crate::live::Snapshot;
use crate::problem::Problem;
use crate::show;
use crate::span::{SPANS, Span};
use crate::visit::Visit;

/// The charts of a page, or why there are none: the rest of the page does not depend on them.
pub(crate) struct Charts {
    pub(crate) spans: Vec<SpanLink>,
    pub(crate) drawn: Result<Drawn, Problem>,
}

/// A span to switch to.
pub(crate) struct SpanLink {
    pub(crate) label: &'static str,
    pub(crate) path: String,
    pub(crate) current: bool,
}

/// Charts of one span.
pub(crate) struct Drawn {
    pub(crate) runs: Chart,
    pub(crate) took: Chart,
    pub(crate) waited: Chart,
    pub(crate) step: String,
}

/// Reads and draws the charts of a scope. `path` and `query` are those of the page, without the span.
pub(crate) async fn charts(
    visit: &Visit,
    span: Span,
    scope: Scope,
    path: &str,
    query: &[(&str, &str)],
) -> Charts {
    let zone = visit.frame(crate::frame::Section::None, "").zone();
    let timeline = visit.dashboard.inner.live.timeline(span, scope).await;
    let drawn = timeline.map(|timeline| Drawn {
        runs: chart::throughput("runs", &timeline, zone),
        took: chart::latency("took", "Run time", &timeline, zone, |point| &point.run),
        waited: chart::latency("waited", "Wait before the run", &timeline, zone, |point| {
            &point.wait
        }),
        step: show::span(timeline.step),
    });
    Charts {
        spans: span_links(span, path, query),
        drawn,
    }
}

/// Links to the same page over each span.
pub(crate) fn span_links(current: Span, path: &str, query: &[(&str, &str)]) -> Vec<SpanLink> {
    SPANS
        .into_iter()
        .map(|span| {
            let mut query = query.to_vec();
            query.push(("span", span.name));
            SpanLink {
                label: span.label,
                path: link::with(path, &query),
                current: span == current,
            }
        })
        .collect()
}

/// A queue in a list.
pub(crate) struct QueueRow {
    pub(crate) stats: QueueStats,
    pub(crate) path: String,
    pub(crate) due_path: String,
    pub(crate) dead_path: String,
    pub(crate) spark: Spark,
    pub(crate) pace: Pace,
}

impl QueueRow {
    pub(crate) fn of(snapshot: &Snapshot, queue: &QueueStats) -> Self {
        let kinds = snapshot
            .hour
            .iter()
            .filter(|kind| kind.queue == queue.queue);
        let name = queue.queue.as_str();
        Self {
            path: link::queue(name),
            due_path: link::jobs(&[("state", "pending"), ("queue", name)]),
            dead_path: link::jobs(&[("state", "dead"), ("queue", name)]),
            spark: Spark(snapshot.activity.of(name)),
            pace: Pace::of(kinds),
            stats: queue.clone(),
        }
    }

    pub(crate) fn is_late(&self) -> bool {
        health::is_late(&self.stats)
    }

    pub(crate) fn is_unserved(&self) -> bool {
        self.stats.workers == 0
    }

    pub(crate) fn due(&self) -> String {
        show::at_least(self.stats.due)
    }

    pub(crate) fn scheduled(&self) -> String {
        show::at_least(self.stats.scheduled)
    }

    pub(crate) fn running(&self) -> String {
        show::at_least(self.stats.running)
    }

    pub(crate) fn dead(&self) -> String {
        show::at_least(self.stats.dead)
    }

    /// Tells when the due jobs will be done at the pace of the last hour.
    pub(crate) fn drains(&self) -> String {
        let due = self.stats.due;
        if due.at_least == 0 {
            return "nothing is due".to_owned();
        }
        if self.stats.paused_at.is_some() {
            return "not while it is paused".to_owned();
        }
        if self.is_unserved() {
            return "not without a worker".to_owned();
        }
        match self.pace.time_for(due.at_least) {
            None => "no job ended in the last hour".to_owned(),
            Some(length) if due.exact => show::span(length),
            Some(length) => format!("more than {}", show::span(length)),
        }
    }
}

/// Gives all queues: the late ones first, then by name.
pub(crate) fn queue_rows(snapshot: &Arc<Snapshot>) -> Vec<QueueRow> {
    let mut rows: Vec<QueueRow> = snapshot
        .queues
        .iter()
        .map(|queue| QueueRow::of(snapshot, queue))
        .collect();
    rows.sort_by_key(|row| !row.is_late());
    rows
}

/// What ran in the last hour.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Pace {
    /// Runs.
    runs: i64,
    /// Runs that failed or were lost.
    failed: i64,
    /// Jobs that are done with, whatever became of them.
    ended: i64,
}

impl Pace {
    pub(crate) fn of<'a>(kinds: impl Iterator<Item = &'a KindStats>) -> Self {
        kinds.fold(Self::default(), |pace, kind| Self {
            runs: pace.runs + kind.completed + kind.failed + kind.lost,
            failed: pace.failed + kind.failed + kind.lost,
            ended: pace.ended + kind.completed + kind.dead + kind.cancelled,
        })
    }

    /// Writes how many jobs end a minute.
    pub(crate) fn rate(self) -> String {
        match self.ended {
            0 => "0".to_owned(),
            ended if ended < 600 => format!("{}.{}", ended / 60, ended % 60 / 6),
            ended => show::count(ended / 60),
        }
    }

    /// Writes which share of the runs failed.
    pub(crate) fn failure_share(self) -> String {
        share(self.failed, self.runs)
    }

    /// Tells how long so many jobs take at this pace.
    fn time_for(self, jobs: i64) -> Option<Duration> {
        let seconds = jobs.checked_mul(3600)?.checked_div(self.ended)?;
        Some(Duration::from_secs(seconds.unsigned_abs().max(1)))
    }
}

/// Writes a share in per cent; a dash for a share of nothing.
#[expect(clippy::cast_precision_loss, reason = "it is rounded to a tenth")]
pub(crate) fn share(part: i64, whole: i64) -> String {
    match (part, whole) {
        (_, 0) => "–".to_owned(),
        (0, _) => "0 %".to_owned(),
        _ => format!("{:.1} %", 100.0 * part as f64 / whole as f64),
    }
}

/// Tells whether a page only brings itself up to date: then what does not change under the reader need not be read.
pub(crate) fn is_refresh(request: &HttpRequest) -> bool {
    request.headers().contains_key("x-live")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_drains_at_the_pace_of_the_last_hour() {
        let pace = Pace {
            runs: 130,
            failed: 13,
            ended: 120,
        };
        assert_eq!(pace.time_for(10), Some(Duration::from_secs(300)));
        assert_eq!(pace.rate(), "2.0");
        assert_eq!(pace.failure_share(), "10.0 %");
        assert_eq!(Pace::default().time_for(10), None);
        assert_eq!(Pace::default().failure_share(), "–");
    }
}
