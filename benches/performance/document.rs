//! The document: what is between `<!-- figures: NAME -->` and `<!-- end of figures -->` is made anew from the reports.

use std::path::Path;

use anyhow::Context as _;

use super::bars::Chart;
use super::figures::{self, Report};
use super::{rivals, tables, views};

/// The benchmarks that have a part in the document, in its order, each with the title of its charts.
pub const BENCHES: [(&str, &str); 11] = [
    ("throughput", "Drain"),
    ("latency", "Wake-up of an idle worker"),
    ("enqueue", "Enqueue"),
    ("writers", "Writers beside a saturated worker"),
    ("mixed", "Producers and a worker"),
    ("held_snapshot", "Drain under a held snapshot"),
    ("big_table", "Drain of a big table"),
    ("claims", "Claim beside jobs that cannot be taken"),
    ("growth", "How the cost grows"),
    ("idle", "Idle worker"),
    ("dashboard", "Dashboard"),
];
const END: &str = "<!-- end of figures -->";

/// The document and its charts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// Markdown.
    pub text: String,
    /// The name of each file and what is in it.
    pub charts: Vec<(String, String)>,
}

impl Document {
    /// Puts the figures of a folder into a text; the parts of benchmarks without figures stay as they are.
    ///
    /// # Errors
    /// When a file is not what a benchmark says, and when the text has no place for it.
    pub fn make(text: &str, folder: &Path) -> anyhow::Result<Self> {
        let mut document = Self {
            text: text.to_owned(),
            charts: Vec::new(),
        };
        let mut reports: Vec<Report> = Vec::new();
        for (bench, title) in BENCHES {
            let Some(report) = figures::report(folder, bench)? else {
                continue;
            };
            document.fill(
                bench,
                &tables::report(&report),
                &views::charts(&report, title),
            )?;
            reports.push(report);
        }
        if let Some(rivals) = rivals::read(folder)? {
            document.fill("rivals", &rivals.tables(), &rivals.charts())?;
        }
        if !reports.is_empty() {
            document.fill("runs", &tables::runs(&reports), &[])?;
            document.fill("targets", &tables::targets(&reports), &[])?;
        }
        Ok(document)
    }

    fn fill(&mut self, part: &str, tables: &str, charts: &[(String, Chart)]) -> anyhow::Result<()> {
        let mut content = tables.to_owned();
        for (name, chart) in charts {
            content.push('\n');
            content.push_str(&picture(name, &chart.title));
            self.charts
                .push((format!("{name}-light.svg"), chart.light()));
            self.charts.push((format!("{name}-dark.svg"), chart.dark()));
        }
        self.text = replaced(&self.text, part, &content)?;
        Ok(())
    }
}

/// GitHub shows the file that goes with the reader's colours.
fn picture(name: &str, title: &str) -> String {
    format!(
        "<picture>\n  <source media=\"(prefers-color-scheme: dark)\" srcset=\"performance/{name}-dark.svg\">\n  \
         <img alt=\"{title}; the table has the figures\" src=\"performance/{name}-light.svg\">\n</picture>\n"
    )
}

fn replaced(text: &str, part: &str, content: &str) -> anyhow::Result<String> {
    let marker = format!("<!-- figures: {part} -->\n");
    let (before, rest) = text
        .split_once(&marker)
        .with_context(|| format!("the document has no {}", marker.trim()))?;
    let (_old, after) = rest
        .split_once(END)
        .with_context(|| format!("the document has no {END} after {}", marker.trim()))?;
    Ok(format!("{before}{marker}\n{content}\n{END}{after}"))
}
