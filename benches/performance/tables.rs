//! Tables of Markdown: what each benchmark measured, and all targets with what came of them.

use super::figures::{Report, Row, Run};
use crate::bench::median;
use crate::bench::number::{figure, spread};

/// Writes what a benchmark measured: sizes, the command, a table for each subject.
#[must_use]
pub fn report(report: &Report) -> String {
    let mut text = format!("{}  \n{}\n", report.title, origin(&report.run));
    for group in groups(&report.rows) {
        let rows: Vec<&Row> = report
            .rows
            .iter()
            .filter(|row| row.group.as_deref() == group)
            .collect();
        text.push('\n');
        text.push_str(&rows_table(group.unwrap_or_default(), &rows));
    }
    text
}

/// Gives the subjects of a benchmark in the order in which they come.
pub(super) fn groups(rows: &[Row]) -> Vec<Option<&str>> {
    let mut groups = Vec::new();
    for row in rows {
        let group = row.group.as_deref();
        if !groups.contains(&group) {
            groups.push(group);
        }
    }
    groups
}

fn origin(run: &Run) -> String {
    format!("`{}`, {}, {}", run.command, run.at, machine(run))
}

/// Describes the machine.
pub(super) fn machine(run: &Run) -> String {
    let mut text = format!("{} cores", run.cores);
    if let Some(processor) = &run.processor {
        text.push_str(&format!(" of {processor}"));
    }
    if let Some(memory) = run.memory_gb {
        text.push_str(&format!(", {memory} GB"));
    }
    format!("{text}, {}, pgqueue {}", run.system, run.pgqueue)
}

fn rows_table(head: &str, rows: &[&Row]) -> String {
    let mut also: Vec<&str> = Vec::new();
    for more in rows.iter().flat_map(|row| &row.also) {
        if !also.contains(&more.name.as_str()) {
            also.push(&more.name);
        }
    }
    let is_compared = rows.iter().any(|row| !row.yardstick.is_empty());
    let mut heads = vec![head, "median", "least to most"];
    if is_compared {
        heads.extend(["yardstick", "ratio", "least to most"]);
    }
    heads.extend(&also);
    table(
        &heads,
        rows.iter().map(|row| cells(row, is_compared, &also)),
    )
}

fn cells(row: &Row, is_compared: bool, also: &[&str]) -> Vec<String> {
    let (ours, ratios) = (row.ours(), row.ratios());
    let mut cells = vec![
        format!("{}, {}", row.name, row.unit),
        figure(median(&ours)),
        spread(&ours),
    ];
    if is_compared {
        cells.extend([
            figure(median(&row.yardstick())),
            figure(median(&ratios)),
            spread(&ratios),
        ]);
    }
    let value = |name: &&str| {
        let more = row.also.iter().find(|more| more.name == **name);
        more.and_then(|more| more.value)
            .map_or_else(|| "–".to_owned(), figure)
    };
    cells.extend(also.iter().map(value));
    cells
}

/// Lists what is wanted, what was measured, and the command that measures it again.
#[must_use]
pub fn targets(reports: &[Report]) -> String {
    let lines = reports.iter().flat_map(|report| {
        let rows = report
            .rows
            .iter()
            .flat_map(|row| row.targets.iter().map(move |target| (row, target)));
        rows.map(|(row, target)| {
            vec![
                row.name.clone(),
                target.wish.clone(),
                target.measured.map_or_else(|| "–".to_owned(), figure),
                target.verdict.clone(),
                format!("`{}`", report.run.command),
            ]
        })
    });
    table(&["what", "target", "measured", "", "command"], lines)
}

/// Says from which runs all figures are.
#[must_use]
pub fn runs(reports: &[Report]) -> String {
    let mut times: Vec<&str> = reports
        .iter()
        .map(|report| report.run.at.as_str())
        .collect();
    times.sort_unstable();
    let mut machines: Vec<String> = reports.iter().map(|report| machine(&report.run)).collect();
    machines.sort();
    machines.dedup();
    let mut servers: Vec<&str> = reports
        .iter()
        .filter_map(|report| report.title.split(',').next())
        .collect();
    servers.sort_unstable();
    servers.dedup();
    match times.as_slice() {
        [] => String::new(),
        [first, .., last] if first != last => format!(
            "Measured from {first} to {last} on {}, {}.\n",
            machines.join("; and on "),
            servers.join(", ")
        ),
        [at, ..] => format!(
            "Measured on {at} on {}, {}.\n",
            machines.join("; and on "),
            servers.join(", ")
        ),
    }
}

/// Writes a table; numbers stand at the right, the first column at the left.
pub(super) fn table(heads: &[&str], lines: impl Iterator<Item = Vec<String>>) -> String {
    let mut text = format!("| {} |\n|---|", heads.join(" | "));
    for _ in 1..heads.len() {
        text.push_str("---:|");
    }
    text.push('\n');
    for line in lines {
        let cells: Vec<String> = line.iter().map(|cell| cell.replace('|', "\\|")).collect();
        text.push_str(&format!("| {} |\n", cells.join(" | ")));
    }
    text
}
