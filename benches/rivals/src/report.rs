//! How results are told: a row for each system and its settings, a column for each figure; or JSON.

#![expect(clippy::print_stdout, reason = "a benchmark prints its table")]

use pgqueue_suite::bench::{median, report::note, run};
use serde_json::{Value, json};

use crate::system::{Measured, Settings};
use crate::task::Found;
use crate::workload::{Figure, Workload};

/// What the versions are read from: it names what was compiled.
const LOCK: &str = include_str!("../Cargo.lock");

/// How this program is started, but for its options.
const COMMAND: &str = "cargo run --release --manifest-path benches/rivals/Cargo.toml";

/// A workload of a system with some settings.
#[derive(Clone, Copy)]
pub(crate) struct Cell {
    /// Who is measured.
    pub(crate) system: &'static dyn Measured,
    /// How its worker is set.
    pub(crate) settings: Settings,
    /// With what.
    pub(crate) workload: Workload,
}

impl Cell {
    /// Gives what `--only` looks at, such as `awa default drain`.
    pub(crate) fn name(&self) -> String {
        let workload = self.workload.figures()[0].name;
        format!("{} {} {workload}", self.system.name(), self.settings.name())
    }

    /// Tells why it is not measured.
    pub(crate) fn refusal(&self) -> Option<&'static str> {
        self.system.refuses(self.workload, self.settings)
    }
}

/// A figure of a cell over all rounds.
struct Row {
    cell: Cell,
    figure: Figure,
    values: Vec<f64>,
    /// What must be known about them, or why there are none.
    remark: Option<String>,
}

impl Row {
    fn low(&self) -> f64 {
        self.values.iter().copied().fold(f64::INFINITY, f64::min)
    }

    fn high(&self) -> f64 {
        self.values
            .iter()
            .copied()
            .fold(f64::NEG_INFINITY, f64::max)
    }

    fn as_text(&self) -> String {
        if self.values.is_empty() {
            return "–".to_owned();
        }
        let middle = median(&self.values);
        let spread = (self.high() - self.low()) / 2.0 / middle * 100.0;
        if self.values.len() == 1 {
            return figure(middle);
        }
        format!("{} ±{spread:.0}%", figure(middle))
    }

    fn as_json(&self) -> Value {
        let is_there = !self.values.is_empty();
        json!({
            "system": self.cell.system.name(),
            "version": version(self.cell.system.name()),
            "settings": self.cell.settings,
            "workload": self.figure.name,
            "unit": self.figure.unit,
            "values": self.values,
            "median": is_there.then(|| median(&self.values)),
            "low": is_there.then(|| self.low()),
            "high": is_there.then(|| self.high()),
            "remark": self.remark,
        })
    }
}

/// All results.
#[derive(Default)]
pub(crate) struct Table {
    rows: Vec<Row>,
    has_failed: bool,
}

impl Table {
    /// Notes what a round found.
    pub(crate) fn add(&mut self, cell: Cell, found: &Found) {
        for (place, figure) in cell.workload.figures().iter().enumerate() {
            let row = self.row(cell, *figure);
            row.values.extend(found.figures.get(place));
            if place == 0 {
                row.remark = found.remark.clone().or(row.remark.take());
            }
        }
        let figures: Vec<String> = found.figures.iter().map(|value| figure(*value)).collect();
        let remark = found.remark.as_deref().unwrap_or_default();
        note(&format!("    {} {remark}", figures.join(", ")));
    }

    /// Notes that a measurement went wrong.
    pub(crate) fn fail(&mut self, cell: Cell, error: &anyhow::Error) {
        note(&format!("    failed: {error:#}"));
        self.has_failed = true;
        let first = cell.workload.figures()[0];
        self.row(cell, first).remark = Some(format!("failed: {error:#}"));
    }

    /// Is true after [`fail`](Self::fail).
    pub(crate) fn has_failed(&self) -> bool {
        self.has_failed
    }

    fn row(&mut self, cell: Cell, figure: Figure) -> &mut Row {
        let is_it = |row: &Row| row.cell.name() == cell.name() && row.figure.name == figure.name;
        let place = self.rows.iter().position(is_it).unwrap_or_else(|| {
            self.rows.push(Row {
                cell,
                figure,
                values: Vec::new(),
                remark: None,
            });
            self.rows.len() - 1
        });
        &mut self.rows[place]
    }

    /// Prints all.
    pub(crate) fn print(&self, title: &str, as_json: bool) {
        if as_json {
            let rows: Vec<Value> = self.rows.iter().map(Row::as_json).collect();
            let mut run = run::describe();
            let arguments = run::arguments(std::env::args().skip(1));
            run["command"] = json!(format!("{COMMAND}{arguments}"));
            println!("{:#}", json!({ "title": title, "run": run, "rows": rows }));
            return;
        }
        println!("{title}; median ± half the range\n");
        let figures: Vec<Figure> = Workload::ALL
            .iter()
            .flat_map(|workload| workload.figures())
            .copied()
            .collect();
        let columns = figures
            .iter()
            .filter(|figure| self.rows.iter().any(|row| row.figure.name == figure.name));
        let columns: Vec<&Figure> = columns.collect();
        print_line("", columns.iter().map(|figure| figure.head.to_owned()));
        print_line("", columns.iter().map(|figure| figure.unit.to_owned()));
        for of_one in self.by_system() {
            let name = system_name(of_one[0]);
            let cells = columns.iter().map(|figure| {
                let row = of_one.iter().find(|row| row.figure.name == figure.name);
                row.map_or_else(|| "–".to_owned(), |row| row.as_text())
            });
            print_line(&name, cells);
        }
        self.print_remarks();
    }

    /// Gives the rows of each system and its settings together.
    fn by_system(&self) -> Vec<Vec<&Row>> {
        let mut all: Vec<Vec<&Row>> = Vec::new();
        for row in &self.rows {
            let name = system_name(row);
            match all.iter_mut().find(|rows| system_name(rows[0]) == name) {
                Some(rows) => rows.push(row),
                None => all.push(vec![row]),
            }
        }
        all
    }

    fn print_remarks(&self) {
        println!();
        for row in &self.rows {
            if let Some(remark) = &row.remark {
                println!("{}, {}: {remark}", system_name(row), row.figure.name);
            }
        }
    }
}

fn print_line(name: &str, cells: impl Iterator<Item = String>) {
    let cells: String = cells.map(|cell| format!(" {cell:>12}")).collect();
    println!("{name:<34}{cells}");
}

fn system_name(row: &Row) -> String {
    let name = row.cell.system.name();
    format!("{name} {}, {}", version(name), row.cell.settings.name())
}

/// Gives the version of a crate that was compiled.
fn version(name: &str) -> &'static str {
    let name = if name == "pgqueue" {
        "pgqueue-core"
    } else {
        name
    };
    let entry = format!("name = \"{name}\"\nversion = \"");
    let rest = LOCK.split_once(&entry).map_or("", |(_, rest)| rest);
    rest.split('"').next().unwrap_or_default()
}

fn figure(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::version;
    use crate::system::SYSTEMS;

    #[test]
    fn every_system_has_a_version() {
        let versions = SYSTEMS.map(|system| version(system.name()));

        assert!(
            versions.iter().all(|version| version.contains('.')),
            "{versions:?}"
        );
    }
}
