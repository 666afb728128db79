//! What the benchmarks said: a file of JSON each, named after the benchmark.

use std::fs;
use std::path::Path;

use anyhow::Context as _;
use serde::Deserialize;
use serde::de::DeserializeOwned;

/// What a benchmark said.
#[derive(Debug, Clone, Deserialize)]
pub struct Report {
    /// The benchmark; it is the name of the file.
    #[serde(skip)]
    pub bench: String,
    /// The version of PostgreSQL, sizes, and what the yardstick is.
    pub title: String,
    /// Which run it was.
    pub run: Run,
    /// The scenarios.
    pub rows: Vec<Row>,
}

/// Which run it was.
#[derive(Debug, Clone, Deserialize)]
pub struct Run {
    /// When it ended.
    pub at: String,
    /// The version of this library.
    pub pgqueue: String,
    /// What somebody types to measure it again.
    pub command: String,
    /// Cores of the machine.
    pub cores: usize,
    /// The name of its processor.
    pub processor: Option<String>,
    /// Its memory.
    pub memory_gb: Option<u64>,
    /// Its operating system.
    pub system: String,
}

/// A scenario.
#[derive(Debug, Clone, Deserialize)]
pub struct Row {
    /// What was measured.
    pub name: String,
    /// The unit of its figures.
    pub unit: String,
    /// Ours, a round each; what could not be measured is none.
    pub ours: Vec<Option<f64>>,
    /// The yardstick's in the same rounds.
    pub yardstick: Vec<Option<f64>>,
    /// What is wanted.
    pub targets: Vec<Target>,
    /// Further figures.
    pub also: Vec<Also>,
    /// The subject, where there are several.
    pub group: Option<String>,
    /// How often each size occurred.
    pub histogram: Option<Histogram>,
}

/// What is wanted of a figure, and what came of it.
#[derive(Debug, Clone, Deserialize)]
pub struct Target {
    /// Of the figure, or of the ratio to the yardstick.
    pub of: Subject,
    /// What is wanted, in words.
    pub wish: String,
    /// The bound.
    pub wanted: f64,
    /// The median that it is for.
    pub measured: Option<f64>,
    /// Whether it is met, or by how much it is missed.
    pub verdict: String,
}

/// What a target is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Subject {
    /// The figure itself.
    Figure,
    /// Its ratio to the yardstick.
    Ratio,
}

/// A further figure of a scenario.
#[derive(Debug, Clone, Deserialize)]
pub struct Also {
    /// What it is, with its unit.
    pub name: String,
    /// None where the machine does not tell.
    pub value: Option<f64>,
}

/// Counts of both sides in the same buckets.
#[derive(Debug, Clone, Deserialize)]
pub struct Histogram {
    /// The upper bounds.
    pub up_to: Vec<f64>,
    /// Ours.
    pub ours: Vec<f64>,
    /// The yardstick's.
    pub yardstick: Vec<f64>,
}

impl Row {
    /// Gives our figures.
    #[must_use]
    pub fn ours(&self) -> Vec<f64> {
        self.ours.iter().flatten().copied().collect()
    }

    /// Gives the yardstick's figures.
    #[must_use]
    pub fn yardstick(&self) -> Vec<f64> {
        self.yardstick.iter().flatten().copied().collect()
    }

    /// Gives the ratio of each round.
    #[must_use]
    pub fn ratios(&self) -> Vec<f64> {
        let rounds = self.ours.iter().zip(&self.yardstick);
        rounds
            .filter_map(|(ours, yardstick)| Some((*ours)? / (*yardstick)?))
            .collect()
    }
}

/// Reads a report of the folder; none where the benchmark has not been run.
///
/// # Errors
/// When the file is not what a benchmark says.
pub fn report(folder: &Path, bench: &str) -> anyhow::Result<Option<Report>> {
    let report: Option<Report> = read(folder, bench)?;
    Ok(report.map(|report| Report {
        bench: bench.to_owned(),
        ..report
    }))
}

/// Reads a file of JSON; none where there is no such file.
pub(super) fn read<T: DeserializeOwned>(folder: &Path, name: &str) -> anyhow::Result<Option<T>> {
    let file = folder.join(format!("{name}.json"));
    if !file.exists() {
        return Ok(None);
    }
    let text = fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?;
    let value = serde_json::from_slice(&text);
    Ok(Some(value.with_context(|| {
        format!("{} is not what a benchmark says", file.display())
    })?))
}
