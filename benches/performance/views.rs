//! Which charts a benchmark has: one for each subject of which there is more than one scenario, and one for each histogram.

use super::bars::{Bar, Chart};
use super::figures::{Histogram, Report, Row, Subject};
use super::tables::groups;
use crate::bench::median;
use crate::bench::number::{least, most};

/// Gives the charts of a benchmark, each with the name of its file.
#[must_use]
pub fn charts(report: &Report, title: &str) -> Vec<(String, Chart)> {
    let mut charts = Vec::new();
    for group in groups(&report.rows) {
        let rows: Vec<&Row> = report
            .rows
            .iter()
            .filter(|row| row.group.as_deref() == group)
            .collect();
        if rows.len() > 1 {
            charts.push((file(report, group), of_rows(&rows, &titled(title, group))));
        }
    }
    for row in &report.rows {
        if let Some(histogram) = &row.histogram {
            let title = format!("{title}, how often");
            charts.push((
                file(report, Some("histogram")),
                of_histogram(histogram, &row.unit, title),
            ));
        }
    }
    charts
}

fn file(report: &Report, group: Option<&str>) -> String {
    match group {
        Some(group) => format!("{}-{}", report.bench, group.replace(' ', "-")),
        None => report.bench.clone(),
    }
}

fn titled(title: &str, group: Option<&str>) -> String {
    group.map_or_else(|| title.to_owned(), |group| format!("{title}: {group}"))
}

fn of_rows(rows: &[&Row], title: &str) -> Chart {
    let unit = rows.first().map_or("", |row| row.unit.as_str());
    let direction = if unit.ends_with("/s") && unit.starts_with("jobs") {
        "more"
    } else {
        "less"
    };
    Chart {
        title: title.to_owned(),
        unit: format!("{unit}, {direction} is better"),
        bars: rows.iter().map(|row| bar(row)).collect(),
        beside: "yardstick".to_owned(),
        ours: "pgqueue".to_owned(),
        is_dense: false,
    }
}

fn bar(row: &Row) -> Bar {
    let (ours, yardstick) = (row.ours(), row.yardstick());
    Bar {
        label: row.name.clone(),
        value: median(&ours),
        spread: (ours.len() > 1).then(|| (least(&ours), most(&ours))),
        beside: (!yardstick.is_empty()).then(|| median(&yardstick)),
        target: target(row),
        is_ours: true,
    }
}

/// Where our bar should end: by the target of the figure itself or by that of the ratio, whichever is harder to reach.
fn target(row: &Row) -> Option<f64> {
    let of = |subject| row.targets.iter().find(|target| target.of == subject);
    let by_figure = of(Subject::Figure).map(|target| target.wanted);
    let by_ratio = of(Subject::Ratio).map(|target| target.wanted * median(&row.yardstick()));
    let both = by_figure.into_iter().chain(by_ratio);
    if row.unit.starts_with("jobs") {
        both.reduce(f64::max)
    } else {
        both.reduce(f64::min)
    }
}

fn of_histogram(histogram: &Histogram, unit: &str, title: String) -> Chart {
    let counts = histogram.ours.iter().zip(&histogram.yardstick);
    let bars = histogram
        .up_to
        .iter()
        .zip(counts)
        .map(|(up_to, (ours, yardstick))| Bar {
            label: format!("≤ {up_to:.2} {unit}"),
            value: *ours,
            spread: None,
            beside: Some(*yardstick),
            target: None,
            is_ours: true,
        });
    Chart {
        title,
        unit: "jobs of each size over all rounds, more above is better".to_owned(),
        bars: bars.collect(),
        beside: "yardstick".to_owned(),
        ours: "pgqueue".to_owned(),
        is_dense: true,
    }
}
