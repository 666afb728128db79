//! How results are told: one table at the end, or JSON; what goes on meanwhile goes to standard error.

#![expect(clippy::print_stdout, reason = "a benchmark prints its table")]

use std::time::Duration;

use serde_json::{Value, json};

use super::histogram::Histogram;
use super::number::{figure, spread};
use super::target::Target;
use super::{median, run};

/// One scenario, over all rounds.
#[derive(Debug, Clone)]
pub struct Row {
    /// What was measured.
    pub name: String,
    /// The unit of its figures.
    pub unit: &'static str,
    /// Ours, a round each.
    pub ours: Vec<f64>,
    /// The yardstick's in the same rounds; empty where there is none.
    pub yardstick: Vec<f64>,
    /// The least ratio that we want, or the greatest where less is better.
    pub target: Option<f64>,
    /// The least figure that we want, or the greatest where less is better.
    pub limit: Option<f64>,
    /// Is true where less is better.
    pub less_is_better: bool,
    /// Further figures, such as processor time a job.
    pub also: Vec<(&'static str, f64)>,
    /// What it belongs to, where the rows of a benchmark have more than one subject.
    pub group: Option<&'static str>,
    /// How often each size occurred, over all rounds.
    pub histogram: Option<Histogram>,
}

impl Row {
    /// Starts a scenario of which more is better.
    #[must_use]
    pub fn new(name: impl Into<String>, unit: &'static str) -> Self {
        Self {
            name: name.into(),
            unit,
            ours: Vec::new(),
            yardstick: Vec::new(),
            target: None,
            limit: None,
            less_is_better: false,
            also: Vec::new(),
            group: None,
            histogram: None,
        }
    }

    /// Gives the ratio of each round.
    fn ratios(&self) -> Vec<f64> {
        self.ours
            .iter()
            .zip(&self.yardstick)
            .map(|(ours, yardstick)| ours / yardstick)
            .collect()
    }

    /// Gives what is wanted of the ratio and of the figure itself.
    fn targets(&self) -> Vec<Target> {
        let target = |wanted, unit, measured| Target {
            unit,
            is_most: self.less_is_better,
            wanted,
            measured,
        };
        let of_ratio = self
            .target
            .map(|wanted| target(wanted, None, median(&self.ratios())));
        let of_figure = self
            .limit
            .map(|wanted| target(wanted, Some(self.unit), median(&self.ours)));
        of_ratio.into_iter().chain(of_figure).collect()
    }

    fn as_json(&self) -> Value {
        let ratios = self.ratios();
        json!({
            "name": self.name,
            "unit": self.unit,
            "ours": self.ours,
            "yardstick": self.yardstick,
            "median": median(&self.ours),
            "ratio": (!ratios.is_empty()).then(|| median(&ratios)),
            "targets": self.targets().iter().map(Target::as_json).collect::<Vec<_>>(),
            "less_is_better": self.less_is_better,
            "also": self.also.iter().map(|(name, value)| json!({ "name": name, "value": value })).collect::<Vec<_>>(),
            "group": self.group,
            "histogram": self.histogram.as_ref().map(Histogram::as_json),
        })
    }
}

/// Measures a scenario and its yardstick in turns.
///
/// # Errors
/// The first of either.
pub async fn compare(
    mut row: Row,
    rounds: usize,
    ours: impl AsyncFn() -> anyhow::Result<f64>,
    yardstick: impl AsyncFn() -> anyhow::Result<f64>,
) -> anyhow::Result<Row> {
    for round in 1..=rounds {
        let (ours, yardstick) = in_turn(round, &ours, &yardstick).await?;
        note(&format!(
            "{}, round {round}: {} {}, yardstick {}",
            row.name,
            figure(ours),
            row.unit,
            figure(yardstick)
        ));
        row.ours.push(ours);
        row.yardstick.push(yardstick);
    }
    Ok(row)
}

/// Measures both. Who goes first alternates with the rounds, so that what the machine does in time hits both alike.
///
/// # Errors
/// What either says.
pub async fn in_turn<A, B>(
    round: usize,
    ours: impl AsyncFn() -> anyhow::Result<A>,
    yardstick: impl AsyncFn() -> anyhow::Result<B>,
) -> anyhow::Result<(A, B)> {
    if round.is_multiple_of(2) {
        let yardstick = yardstick().await?;
        return Ok((ours().await?, yardstick));
    }
    Ok((ours().await?, yardstick().await?))
}

/// Says something while it is measured.
#[expect(clippy::print_stderr, reason = "standard output has the table alone")]
pub fn note(text: &str) {
    eprintln!("{text}");
}

/// Prints all rows.
pub fn print(title: &str, rows: &[Row], as_json: bool) {
    if rows.is_empty() {
        note("nothing was measured: no scenario has the text of --only in its name");
    }
    if as_json {
        println!("{:#}", json(title, rows));
        return;
    }
    println!("{title}\n");
    println!(
        "{:<44} {:>10} {:>19} {:>10} {:>6} {:>13}  target",
        "", "median", "least to most", "yardstick", "ratio", "least to most"
    );
    for row in rows {
        print_row(row);
    }
}

/// Gives what `--json` prints.
#[must_use]
pub fn json(title: &str, rows: &[Row]) -> Value {
    let rows: Vec<Value> = rows.iter().map(Row::as_json).collect();
    json!({ "title": title, "run": run::describe(), "rows": rows })
}

fn print_row(row: &Row) {
    let ratios = row.ratios();
    let or_dash = |is_there: bool, text: String| if is_there { text } else { "–".to_owned() };
    let compared = !ratios.is_empty();
    let targets: Vec<String> = row
        .targets()
        .iter()
        .map(|target| format!("{} {}", target.wish(), target.verdict()))
        .collect();
    println!(
        "{:<44} {:>10} {:>19} {:>10} {:>6} {:>13}  {}",
        format!("{}, {}", row.name, row.unit),
        figure(median(&row.ours)),
        spread(&row.ours),
        or_dash(compared, figure(median(&row.yardstick))),
        or_dash(compared, format!("{:.2}", median(&ratios))),
        or_dash(compared, spread(&ratios)),
        targets.join(", "),
    );
    for (name, value) in &row.also {
        println!("    {name:<40} {:>10}", figure(*value));
    }
    for line in row
        .histogram
        .iter()
        .flat_map(|histogram| histogram.lines(row.unit))
    {
        println!("{line}");
    }
}

/// Gives so many a second.
#[must_use]
pub fn a_second(count: i32, length: Duration) -> f64 {
    f64::from(count) / length.as_secs_f64()
}

/// Gives microseconds of processor time for each of so many.
#[must_use]
pub fn microseconds_each(
    count: i32,
    before: Option<Duration>,
    after: Option<Duration>,
) -> Option<f64> {
    let spent = after?.checked_sub(before?)?;
    Some(spent.as_secs_f64() * 1e6 / f64::from(count))
}
