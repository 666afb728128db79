//! What a benchmark says arrives in the document and its charts.

use std::fs;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::document::Document;
use crate::bench::histogram::Histogram;
use crate::bench::report::{self, Row};

/// A document with a place for everything.
fn template() -> String {
    let parts = ["runs", "targets", "throughput", "latency", "rivals"];
    let places = parts
        .map(|part| format!("<!-- figures: {part} -->\nold {part}\n<!-- end of figures -->\n"));
    format!("# Before\n{}# After\n", places.concat())
}

fn folder(files: &[(&str, Value)]) -> TempDir {
    let folder = tempfile::tempdir().expect("there is room");
    for (name, value) in files {
        let file = folder.path().join(format!("{name}.json"));
        fs::write(file, value.to_string()).expect("it is written");
    }
    folder
}

/// Two drains, the second of which misses its targets, as `benches/throughput.rs` says it.
fn throughput() -> Value {
    let drain = |name: &str, ours: &[f64], yardstick: &[f64]| {
        let mut row = Row::new(name, "jobs/s");
        (row.ours, row.yardstick) = (ours.to_vec(), yardstick.to_vec());
        (row.target, row.limit) = (Some(0.75), Some(20_000.0));
        row.also = vec![("client, µs", 7.5)];
        row
    };
    let rows = [
        drain(
            "drain <tuned> & kept",
            &[40_000.0, 42_000.0, 41_000.0],
            &[50_000.0, 50_000.0, 50_000.0],
        ),
        drain(
            "drain, default",
            &[10_000.0, 11_000.0, 12_000.0],
            &[50_000.0, 50_000.0, 50_000.0],
        ),
    ];
    report::json("PostgreSQL 15.18, 100000 jobs", &rows)
}

fn latency() -> Value {
    let mut row = Row::new("wake-up, p50", "ms");
    (row.ours, row.less_is_better, row.limit) = (vec![1.25], true, Some(1.6));
    row.histogram = Some(Histogram::of(&[1.0, 1.2, 1.2], &[0.9]));
    report::json("PostgreSQL 15.18, 3 jobs", &[row])
}

fn rivals() -> Value {
    let row = |system: &str, settings: &str, workload: &str, unit: &str, values: &[f64]| {
        json!({
            "system": system, "version": "1.0", "settings": settings, "workload": workload, "unit": unit,
            "values": values, "median": null, "low": null, "high": null,
            "remark": values.is_empty().then_some("it has no such call"),
        })
    };
    json!({ "title": "PostgreSQL 15.18, 100000 jobs", "rows": [
        row("pgqueue", "best", "drain", "jobs/s", &[30_000.0, 32_000.0]),
        row("slow", "best", "drain", "jobs/s", &[1000.0, 1000.0]),
        row("quick", "best", "drain", "jobs/s", &[20_000.0, 40_000.0]),
        row("pgqueue", "best", "wake-up, p50", "ms", &[2.0]),
        row("quick", "best", "wake-up, p50", "ms", &[1.0]),
        row("slow", "best", "wake-up, p50", "ms", &[]),
    ]})
}

fn make(files: &[(&str, Value)]) -> Document {
    Document::make(&template(), folder(files).path()).expect("the document is made")
}

#[test]
fn figures_spreads_ratios_and_verdicts_are_in_the_document() {
    let text = make(&[("throughput", throughput())]).text;

    for expected in [
        "| drain <tuned> & kept, jobs/s | 41,000 | 40,000 to 42,000 | 50,000 | 0.82 | 0.80 to 0.84 | 7.50 |",
        "| drain, default | ≥ 0.75 × | 0.22 | missed by 71 % |",
        "| drain, default | ≥ 20,000 jobs/s | 11,000 | missed by 45 % |",
        "PostgreSQL 15.18, 100000 jobs",
    ] {
        assert!(text.contains(expected), "{expected} is not in:\n{text}");
    }
}

#[test]
fn what_has_no_figures_stays_as_it_is_and_so_does_what_is_written() {
    let text = make(&[("throughput", throughput())]).text;

    assert!(text.starts_with("# Before\n") && text.ends_with("# After\n"));
    assert!(text.contains("old latency") && text.contains("old rivals"));
    assert!(!text.contains("old throughput") && !text.contains("old targets"));
}

#[test]
fn a_document_that_was_made_before_is_made_the_same_again() {
    let files = folder(&[("throughput", throughput()), ("rivals", rivals())]);
    let once = Document::make(&template(), files.path()).expect("it is made");

    let twice = Document::make(&once.text, files.path()).expect("it is made again");

    assert_eq!(once, twice);
}

#[test]
fn a_document_without_a_place_for_figures_is_refused() {
    let files = folder(&[("throughput", throughput())]);

    let refused = Document::make("# Nothing\n", files.path());

    assert!(refused.is_err_and(|error| error.to_string().contains("figures: throughput")));
}

#[test]
fn every_chart_is_well_formed_and_says_its_figures_to_a_screen_reader() {
    let document = make(&[
        ("throughput", throughput()),
        ("latency", latency()),
        ("rivals", rivals()),
    ]);

    let names: Vec<&str> = document
        .charts
        .iter()
        .map(|(name, _)| name.as_str())
        .collect();
    for name in [
        "throughput-light.svg",
        "throughput-dark.svg",
        "latency-histogram-dark.svg",
        "rivals-drain-light.svg",
    ] {
        assert!(names.contains(&name), "{name} is not among {names:?}");
    }
    for (name, chart) in &document.charts {
        let parsed =
            roxmltree::Document::parse(chart).unwrap_or_else(|error| panic!("{name}: {error}"));
        let texts: Vec<&str> = parsed
            .root_element()
            .children()
            .filter(|node| node.has_tag_name("title") || node.has_tag_name("desc"))
            .filter_map(|node| node.text())
            .collect();
        assert_eq!(texts.len(), 2, "{name} has a title and a description");
        assert_eq!(parsed.root_element().attribute("role"), Some("img"));
    }
    let drain = &document.charts[0].1;
    assert!(drain.contains(
        "drain &lt;tuned&gt; &amp; kept: 41,000 (40,000 to 42,000), yardstick 50,000, target 37,500"
    ));
}

#[test]
fn a_histogram_counts_in_whole_jobs() {
    let document = make(&[("latency", latency())]);

    let histogram = document
        .charts
        .iter()
        .find(|(name, _)| name == "latency-histogram-light.svg");
    let chart = &histogram.expect("there is one").1;
    assert!(chart.contains("≤ 1.26 ms: 2, yardstick 0"), "{chart}");
}

#[test]
fn no_bar_and_no_line_leaves_its_chart() {
    let document = make(&[("throughput", throughput()), ("rivals", rivals())]);

    for (name, chart) in &document.charts {
        let parsed = roxmltree::Document::parse(chart).expect("it is well-formed");
        let number = |node: roxmltree::Node<'_, '_>, name| {
            node.attribute(name)
                .and_then(|value| value.parse::<f64>().ok())
        };
        let width = number(parsed.root_element(), "width").expect("it has a width");
        for node in parsed.descendants() {
            let end = match node.tag_name().name() {
                "rect" => {
                    number(node, "x").unwrap_or(0.0) + number(node, "width").expect("it is wide")
                }
                "line" => number(node, "x2").expect("it ends somewhere"),
                _ => continue,
            };
            assert!(end <= width, "{name}: something ends at {end} of {width}");
        }
    }
}

#[test]
fn the_best_of_the_others_is_told_even_where_it_is_better() {
    let text = make(&[("rivals", rivals())]).text;

    for expected in [
        "| drain, best, jobs/s | 31,000 | quick best: 30,000 | 1.15 | ≥ 1.2 missed |",
        "| wake-up, p50, best, ms | 2.00 | quick best: 1.00 | 0.50 |  |",
        "| slow 1.0, best | 1,000 jobs/s | – |",
        "- slow, best, wake-up, p50: it has no such call",
    ] {
        assert!(text.contains(expected), "{expected} is not in:\n{text}");
    }
}

#[test]
fn the_best_is_on_top_of_a_chart_of_rivals() {
    let document = make(&[("rivals", rivals())]);

    let wake_up = document
        .charts
        .iter()
        .find(|(name, _)| name.starts_with("rivals-wake-up"));
    let chart = &wake_up.expect("there is one").1;
    let place = |text| chart.rfind(text).expect("it is a label");
    assert!(place(">quick 1.0, best<") < place(">pgqueue 1.0, best<"));
}

#[test]
fn the_document_shows_the_figures_that_are_kept_beside_it() {
    let docs = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
    let text = fs::read_to_string(docs.join("performance.md")).expect("it is there");

    let made = Document::make(&text, &docs.join("performance/figures")).expect("it is made");

    assert!(
        made.text == text,
        "run `cargo run --bin performance-report`"
    );
    for (name, chart) in made.charts {
        let kept = fs::read_to_string(docs.join("performance").join(&name)).expect("it is kept");
        assert!(
            kept == chart,
            "{name}: run `cargo run --bin performance-report`"
        );
    }
}
