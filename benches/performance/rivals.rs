//! Other job queues beside ours, as `benches/rivals` measured all of them in one run.

use std::path::Path;

use serde::Deserialize;

use super::bars::{Bar, Chart};
use super::figures::{self, Run};
use super::tables::{machine, table};
use crate::bench::median;
use crate::bench::number::{figure, least, most};

/// The name of ours.
const OURS: &str = "pgqueue";
/// What is wanted beside the best of the others: workload, our settings, theirs, and how many times as good as it.
const WISHES: [(&str, &str, &str, f64); 3] = [
    ("drain", "best", "best", 1.2),
    ("drain", "deleting", "best", 1.6),
    ("drain", "default", "default", 5.0),
];

/// What `benches/rivals` said.
#[derive(Debug, Clone, Deserialize)]
pub struct Rivals {
    /// The version of PostgreSQL, and sizes.
    pub title: String,
    /// Which run it was, if it says so.
    pub run: Option<Run>,
    /// A workload of a system with some settings each.
    pub rows: Vec<Measured>,
}

/// A workload of a system with some settings.
#[derive(Debug, Clone, Deserialize)]
pub struct Measured {
    /// The queue.
    pub system: String,
    /// Its version.
    pub version: String,
    /// How its worker was set.
    pub settings: String,
    /// What was measured.
    pub workload: String,
    /// The unit of its figures.
    pub unit: String,
    /// A round each; empty where it was not measured.
    pub values: Vec<f64>,
    /// What must be known about them, or why there are none.
    #[serde(default)]
    pub remark: Option<String>,
}

impl Measured {
    fn is_ours(&self) -> bool {
        self.system == OURS
    }

    fn less_is_better(&self) -> bool {
        self.unit != "jobs/s"
    }

    /// Gives how many times as good as the other this is, by the median of the rounds.
    fn times_as_good_as(&self, other: &Self) -> f64 {
        let rounds = self.values.iter().zip(&other.values);
        let ratios: Vec<f64> = rounds
            .map(|(own, other)| {
                if self.less_is_better() {
                    other / own
                } else {
                    own / other
                }
            })
            .collect();
        median(&ratios)
    }
}

/// Reads the report; none where it has not been run.
///
/// # Errors
/// When the file is not what `benches/rivals` says.
pub fn read(folder: &Path) -> anyhow::Result<Option<Rivals>> {
    figures::read(folder, "rivals")
}

impl Rivals {
    /// Writes all figures, ours beside the best of the others, and what must be known.
    #[must_use]
    pub fn tables(&self) -> String {
        let origin = self.run.as_ref().map_or_else(String::new, |run| {
            format!("  \n`{}`, {}, {}", run.command, run.at, machine(run))
        });
        let title = &self.title;
        format!(
            "{title}{origin}\n\n{}\n{}{}",
            self.beside_the_best(),
            self.all(),
            self.remarks()
        )
    }

    /// Gives the charts, a workload each, the best on top.
    #[must_use]
    pub fn charts(&self) -> Vec<(String, Chart)> {
        let workloads = self.workloads();
        let charts = workloads.into_iter().map(|workload| {
            let words = workload.split(|letter: char| !letter.is_ascii_alphanumeric());
            let words: Vec<&str> = words.filter(|word| !word.is_empty()).collect();
            (format!("rivals-{}", words.join("-")), self.chart(workload))
        });
        charts.filter(|(_, chart)| chart.bars.len() > 1).collect()
    }

    fn chart(&self, workload: &str) -> Chart {
        let mut rows: Vec<&Measured> = self.of(workload).collect();
        rows.sort_by(|one, other| median(&other.values).total_cmp(&median(&one.values)));
        let less_is_better = rows.first().is_some_and(|row| row.less_is_better());
        if less_is_better {
            rows.reverse();
        }
        let direction = if less_is_better { "less" } else { "more" };
        let unit = rows.first().map_or("", |row| row.unit.as_str());
        let bar = |row: &&Measured| Bar {
            label: format!("{} {}, {}", row.system, row.version, row.settings),
            value: median(&row.values),
            spread: (row.values.len() > 1).then(|| (least(&row.values), most(&row.values))),
            beside: None,
            target: None,
            is_ours: row.is_ours(),
        };
        Chart {
            title: capitalised(workload),
            unit: format!("{unit}, {direction} is better"),
            bars: rows.iter().map(bar).collect(),
            beside: "others".to_owned(),
            ours: OURS.to_owned(),
            is_dense: false,
        }
    }

    /// Gives what was measured of a workload.
    fn of<'a>(&'a self, workload: &'a str) -> impl Iterator<Item = &'a Measured> {
        let is_it = move |row: &&Measured| row.workload == workload && !row.values.is_empty();
        self.rows.iter().filter(is_it)
    }

    /// Is true when the queue has not drained its backlog in time: what its drains tell beside the rate is of fewer jobs.
    fn is_unfinished(&self, row: &Measured) -> bool {
        let same = |other: &&Measured| {
            other.system == row.system
                && other.settings == row.settings
                && other.workload == "drain"
                && other.remark.is_some()
        };
        row.workload == "memory" && self.rows.iter().any(|other| same(&other))
    }

    fn workloads(&self) -> Vec<&str> {
        let mut workloads: Vec<&str> = Vec::new();
        for row in &self.rows {
            if !workloads.contains(&row.workload.as_str()) {
                workloads.push(&row.workload);
            }
        }
        workloads
    }

    fn beside_the_best(&self) -> String {
        let ours = self
            .rows
            .iter()
            .filter(|row| row.is_ours() && !row.values.is_empty());
        let lines = ours.filter_map(|ours| {
            let wish = WISHES
                .iter()
                .find(|wish| wish.0 == ours.workload && wish.1 == ours.settings);
            let settings = wish.map_or(ours.settings.as_str(), |wish| wish.2);
            let others = self
                .of(&ours.workload)
                .filter(|row| !row.is_ours() && row.settings == settings)
                .filter(|row| !self.is_unfinished(row));
            let best = others.min_by(|one, other| {
                ours.times_as_good_as(one)
                    .total_cmp(&ours.times_as_good_as(other))
            })?;
            let times = ours.times_as_good_as(best);
            let verdict = wish.map_or_else(String::new, |wish| {
                let verdict = if times >= wish.3 { "met" } else { "missed" };
                format!("≥ {:.1} {verdict}", wish.3)
            });
            Some(vec![
                format!("{}, {}, {}", ours.workload, ours.settings, ours.unit),
                figure(median(&ours.values)),
                format!(
                    "{} {}: {}",
                    best.system,
                    best.settings,
                    figure(median(&best.values))
                ),
                figure(times),
                verdict,
            ])
        });
        table(
            &[
                "",
                "pgqueue",
                "best of the others",
                "times as good",
                "target",
            ],
            lines,
        )
    }

    fn all(&self) -> String {
        let workloads = self.workloads();
        let mut heads = vec!["queue, settings"];
        heads.extend(&workloads);
        let mut names: Vec<(&str, &str, &str)> = Vec::new();
        for row in &self.rows {
            let name = (
                row.system.as_str(),
                row.version.as_str(),
                row.settings.as_str(),
            );
            if !names.contains(&name) {
                names.push(name);
            }
        }
        let lines = names.into_iter().map(|(system, version, settings)| {
            let mut cells = vec![format!("{system} {version}, {settings}")];
            cells.extend(workloads.iter().map(|workload| {
                let mut rows = self.of(workload);
                let row = rows.find(|row| row.system == system && row.settings == settings);
                row.map_or_else(
                    || "–".to_owned(),
                    |row| format!("{} {}", figure(median(&row.values)), row.unit),
                )
            }));
            cells
        });
        table(&heads, lines)
    }

    fn remarks(&self) -> String {
        let rows = self
            .rows
            .iter()
            .filter_map(|row| Some((row, row.remark.as_ref()?)));
        let lines: Vec<String> = rows
            .map(|(row, remark)| {
                format!(
                    "- {}, {}, {}: {remark}\n",
                    row.system, row.settings, row.workload
                )
            })
            .collect();
        if lines.is_empty() {
            String::new()
        } else {
            format!("\n{}", lines.concat())
        }
    }
}

fn capitalised(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| {
        first.to_uppercase().chain(letters).collect()
    })
}
