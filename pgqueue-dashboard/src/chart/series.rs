//! The charts that there are: what ran, how long it took and waited, and how often which length.

use std::fmt::Write as _;
use std::time::Duration;

use chrono::{DateTime, FixedOffset, Utc};
use pgqueue_core::stats::{Histogram, Point, Timeline};

use super::{Chart, HEIGHT, WIDTH, height, scale};
use crate::show;

/// Draws runs as stacked bars: completed at the bottom, failed ones above, those that left their job dead on top.
pub(crate) fn throughput(id: &'static str, timeline: &Timeline, zone: FixedOffset) -> Chart {
    let largest = timeline
        .points
        .iter()
        .map(|point| stack(point).iter().sum());
    let lines = scale::counts(largest.max().unwrap_or(0));
    let top = lines.last().copied().unwrap_or(1);
    let totals = timeline.points.iter().fold([0; 3], |sum, point| {
        let stack = stack(point);
        [sum[0] + stack[0], sum[1] + stack[1], sum[2] + stack[2]]
    });
    let mut chart = Chart {
        id,
        title: "Runs",
        description: format!(
            "{} runs completed, {} failed and may be tried again, {} left their job dead; one bar is {}.",
            show::count(totals[0]),
            show::count(totals[1]),
            show::count(totals[2]),
            show::span(timeline.step)
        ),
        lines: lines
            .iter()
            .map(|tick| (ratio(*tick, top), scale::short(*tick)))
            .collect(),
        ticks: ticks(timeline, zone),
        legend: vec![
            ("bar completed", "completed (bottom)"),
            ("bar failed", "failed, may be tried again (outlined)"),
            ("bar dead", "left dead (top)"),
        ],
        head: vec![
            "From",
            "Completed",
            "Failed",
            "Dead",
            "Cancelled",
            "Snoozed",
            "Lost",
        ],
        ..Chart::default()
    };
    for point in &timeline.points {
        let (left, width) = place(timeline, point.at);
        draw_stack(&mut chart.marks, point, top, left, width);
        let told = format!(
            "{}: {} completed, {} failed, {} dead",
            exact(point.at, zone),
            show::count(point.completed),
            show::count(point.failed),
            show::count(point.dead)
        );
        chart.hits.push((left, width, told));
    }
    chart.rows = timeline
        .points
        .iter()
        .rev()
        .map(|point| runs_row(point, zone))
        .collect();
    chart
}

/// Completed; failed or lost without being dead; dead.
fn stack(point: &Point) -> [i64; 3] {
    let dead = point.dead;
    [
        point.completed,
        (point.failed + point.lost - dead).max(0),
        dead,
    ]
}

fn draw_stack(marks: &mut String, point: &Point, top: i64, left: f64, width: f64) {
    let gap = (width * 0.14).min(3.0);
    let mut below = 0;
    for (count, class) in stack(point)
        .into_iter()
        .zip(["completed", "failed", "dead"])
    {
        if count == 0 {
            continue;
        }
        let (bottom, upper) = (height(ratio(below, top)), height(ratio(below + count, top)));
        let tall = (bottom - upper).max(1.0); // one dead job among thousands stays visible
        let (x, y, wide) = (left + gap / 2.0, bottom - tall, width - gap);
        let _ = write!(
            marks,
            "<rect class=\"bar {class}\" x=\"{x:.1}\" y=\"{y:.1}\" width=\"{wide:.1}\" height=\"{tall:.1}\"/>"
        );
        below += count;
    }
}

fn runs_row(point: &Point, zone: FixedOffset) -> Vec<String> {
    let counts = [
        point.completed,
        point.failed,
        point.dead,
        point.cancelled,
        point.snoozed,
        point.lost,
    ];
    std::iter::once(exact(point.at, zone))
        .chain(counts.map(show::count))
        .collect()
}

const SHARES: [(f64, &str, &str); 3] = [
    (0.5, "line p50", "half of all (p50)"),
    (0.95, "line p95", "95 of 100 (p95)"),
    (0.99, "line p99", "99 of 100 (p99)"),
];

/// Draws percentiles as lines on a logarithmic axis, with a gap wherever nothing was counted.
pub(crate) fn latency(
    id: &'static str,
    title: &'static str,
    timeline: &Timeline,
    zone: FixedOffset,
    of: fn(&Point) -> &Histogram,
) -> Chart {
    let measured: Vec<(&Point, [u64; 3])> = timeline
        .points
        .iter()
        .filter_map(|point| Some((point, percentiles(of(point))?)))
        .collect();
    let values = || {
        measured
            .iter()
            .flat_map(|(_, values)| values.iter().copied())
    };
    let lines = scale::lengths(values().min().unwrap_or(1), values().max().unwrap_or(1));
    let mut chart = Chart {
        id,
        title,
        description: format!(
            "p50, p95 and p99 of each {}, on a logarithmic axis; a value is an upper bound, right to a factor of two.",
            show::span(timeline.step)
        ),
        lines: lines
            .iter()
            .map(|tick| (scale::position(*tick, &lines), scale::length(*tick)))
            .collect(),
        ticks: ticks(timeline, zone),
        legend: SHARES.map(|(_, class, meaning)| (class, meaning)).to_vec(),
        head: vec!["From", "p50", "p95", "p99"],
        ..Chart::default()
    };
    for (share, (_, class, _)) in SHARES.iter().enumerate() {
        let places: Vec<(DateTime<Utc>, f64)> = measured
            .iter()
            .map(|(point, values)| (point.at, height(scale::position(values[share], &lines))))
            .collect();
        draw_line(&mut chart.marks, class, timeline, &places);
    }
    for (point, values) in &measured {
        let (left, width) = place(timeline, point.at);
        let [p50, p95, p99] = values.map(scale::length);
        let at = exact(point.at, zone);
        chart.hits.push((
            left,
            width,
            format!("{at}: p50 {p50}, p95 {p95}, p99 {p99}"),
        ));
        chart.rows.insert(0, vec![at, p50, p95, p99]);
    }
    chart
}

/// Gives the three percentiles in milliseconds.
fn percentiles(histogram: &Histogram) -> Option<[u64; 3]> {
    let of = |share| histogram.percentile(share).map(milliseconds);
    Some([of(SHARES[0].0)?, of(SHARES[1].0)?, of(SHARES[2].0)?])
}

fn draw_line(
    marks: &mut String,
    class: &str,
    timeline: &Timeline,
    places: &[(DateTime<Utc>, f64)],
) {
    let mut path = String::new();
    let mut before: Option<DateTime<Utc>> = None;
    for (at, y) in places {
        let (left, width) = place(timeline, *at);
        let x = left + width / 2.0;
        let goes_on = before.is_some_and(|before| (*at - before).to_std() == Ok(timeline.step));
        let _ = if goes_on {
            write!(path, "L{x:.1} {y:.1}")
        } else {
            write!(path, "M{x:.1} {y:.1}h.01") // a point by itself is a dot
        };
        before = Some(*at);
    }
    let _ = write!(
        marks,
        "<path class=\"{class}\" vector-effect=\"non-scaling-stroke\" d=\"{path}\"/>"
    );
}

/// Draws how often which length of time was measured.
pub(crate) fn lengths(id: &'static str, title: &'static str, histogram: &Histogram) -> Chart {
    let bars: Vec<(Duration, i64)> = histogram.bars().collect();
    let first = bars.iter().position(|(_, count)| *count > 0).unwrap_or(0);
    let last = bars
        .iter()
        .rposition(|(_, count)| *count > 0)
        .map_or(0, |last| last + 1);
    let shown = bars.get(first..last).unwrap_or_default();
    let lines = scale::counts(shown.iter().map(|(_, count)| *count).max().unwrap_or(0));
    let top = lines.last().copied().unwrap_or(1);
    let mut chart = Chart {
        id,
        title,
        description: format!(
            "{} runs by length; each bar is up to twice as long as the one before.",
            show::count(histogram.count())
        ),
        lines: lines
            .iter()
            .map(|tick| (ratio(*tick, top), scale::short(*tick)))
            .collect(),
        head: vec!["Up to", "Runs", "Share"],
        ..Chart::default()
    };
    let width = WIDTH / as_float(shown.len().max(1));
    let every = shown.len() / 7 + 1;
    for (place, (bound, count)) in shown.iter().enumerate() {
        let (left, tall) = (as_float(place) * width, HEIGHT * ratio(*count, top));
        let (x, y, wide) = (left + width * 0.06, HEIGHT - tall, width * 0.88);
        let _ = write!(
            chart.marks,
            "<rect class=\"bar running\" x=\"{x:.1}\" y=\"{y:.1}\" width=\"{wide:.1}\" height=\"{tall:.1}\"/>"
        );
        let up_to = show::span(*bound);
        let share = format!("{:.1} %", 100.0 * ratio(*count, histogram.count()));
        chart.hits.push((
            left,
            width,
            format!("up to {up_to}: {} runs", show::count(*count)),
        ));
        if place % every == 0 {
            chart
                .ticks
                .push(((left + width / 2.0) / WIDTH, format!("≤ {up_to}")));
        }
        chart.rows.push(vec![up_to, show::count(*count), share]);
    }
    chart
}

fn ticks(timeline: &Timeline, zone: FixedOffset) -> Vec<(f64, String)> {
    let (from, to) = (timeline.from.timestamp(), timeline.to.timestamp());
    scale::times(from, to, zone)
        .into_iter()
        .map(|(tick, name)| (ratio(tick - from, to - from), name))
        .collect()
}

/// Left end and width of a step in the picture.
fn place(timeline: &Timeline, at: DateTime<Utc>) -> (f64, f64) {
    let whole = (timeline.to - timeline.from).num_seconds();
    let left = ratio((at - timeline.from).num_seconds(), whole) * WIDTH;
    let step = i64::try_from(timeline.step.as_secs()).unwrap_or(whole);
    (left, ratio(step, whole) * WIDTH)
}

fn exact(at: DateTime<Utc>, zone: FixedOffset) -> String {
    at.with_timezone(&zone).format("%-d %b %H:%M").to_string()
}

fn milliseconds(length: Duration) -> u64 {
    u64::try_from(length.as_millis()).unwrap_or(u64::MAX)
}

/// Gives the share of a part; nothing of nothing is nothing.
#[expect(clippy::cast_precision_loss, reason = "pixels are rougher")]
pub(super) fn ratio(part: i64, whole: i64) -> f64 {
    if whole <= 0 {
        0.0
    } else {
        part as f64 / whole as f64
    }
}

#[expect(clippy::cast_precision_loss, reason = "there are 24 bars")]
fn as_float(count: usize) -> f64 {
    count as f64
}
