//! Charts as SVG, drawn here: attributes and classes only, so that no policy on content stands in their way.
//!
//! The marks are drawn into an inner picture that is stretched to the width of the page; texts and lines of the axes stand
//! outside of it, so they keep their size on every screen. Labels of the values stand on their lines, inside.

pub(crate) mod scale;
mod series;
mod spark;

use std::fmt;

use askama::filters::HtmlSafe;

pub(crate) use series::{latency, lengths, throughput};
pub(crate) use spark::Spark;

/// Width of the inner picture, in its own units.
const WIDTH: f64 = 1000.0;
/// Height of the inner picture, in pixels.
const HEIGHT: f64 = 148.0;
/// Room above it, for the label of the topmost line.
const TOP: f64 = 16.0;

/// A chart with its legend and its numbers as a table.
#[derive(Debug, Default)]
pub(crate) struct Chart {
    /// Begins the ids of its elements: unique on a page.
    id: &'static str,
    title: &'static str,
    description: String,
    /// What is drawn, in the units of the inner picture.
    marks: String,
    /// Places to point at: left end, width, and what is told there.
    hits: Vec<(f64, f64, String)>,
    /// Lines of values: share of the height, label.
    lines: Vec<(f64, String)>,
    /// Ticks below: share of the width, label.
    ticks: Vec<(f64, String)>,
    /// Class of a sample, and what it means.
    legend: Vec<(&'static str, &'static str)>,
    head: Vec<&'static str>,
    rows: Vec<Vec<String>>,
}

impl Chart {
    /// Is true when there is nothing to draw.
    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }
}

/// Every text in it is ours, a number or a time: nothing comes from the database as text.
impl HtmlSafe for Chart {}

impl fmt::Display for Chart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            id,
            title,
            description,
            marks,
            ..
        } = self;
        write!(
            f,
            "<svg class=\"chart plot\" width=\"100%\" height=\"190\" role=\"img\" aria-labelledby=\"{id}-title {id}-desc\">\
             <title id=\"{id}-title\">{title}</title><desc id=\"{id}-desc\">{description}</desc>"
        )?;
        self.write_lines(f)?;
        write!(
            f,
            "<svg y=\"{TOP}\" width=\"100%\" height=\"{HEIGHT}\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" preserveAspectRatio=\"none\" overflow=\"visible\">{marks}"
        )?;
        for (left, width, text) in &self.hits {
            write!(
                f,
                "<rect class=\"hit\" x=\"{left:.1}\" y=\"0\" width=\"{width:.1}\" height=\"{HEIGHT}\"><title>{text}</title></rect>"
            )?;
        }
        f.write_str("</svg>")?;
        self.write_labels(f)?;
        f.write_str("</svg>")?;
        self.write_legend(f)?;
        self.write_table(f)
    }
}

impl Chart {
    fn write_lines(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (share, _) in &self.lines {
            let y = height(*share) + TOP;
            write!(
                f,
                "<line class=\"axis\" x1=\"0\" x2=\"100%\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>"
            )?;
        }
        Ok(())
    }

    fn write_labels(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<g aria-hidden=\"true\">")?;
        for (share, label) in self.lines.iter().skip_while(|(share, _)| *share <= 0.0) {
            let y = height(*share) + TOP - 4.0;
            write!(f, "<text x=\"0\" y=\"{y:.1}\">{label}</text>")?;
        }
        for (share, label) in &self.ticks {
            let anchor = match share {
                share if *share < 0.05 => "start",
                share if *share > 0.95 => "end",
                _ => "middle",
            };
            let y = TOP + HEIGHT + 16.0;
            let x = share * 100.0;
            write!(
                f,
                "<text x=\"{x:.2}%\" y=\"{y}\" text-anchor=\"{anchor}\">{label}</text>"
            )?;
        }
        f.write_str("</g>")
    }

    fn write_legend(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.legend.is_empty() {
            return Ok(());
        }
        f.write_str("<ul class=\"legend\">")?;
        for (class, meaning) in &self.legend {
            let sample = if class.starts_with("bar") {
                format!(
                    "<rect class=\"{class}\" x=\"6\" y=\"1\" width=\"10\" height=\"9\" rx=\"1\"/>"
                )
            } else {
                format!("<path class=\"{class}\" d=\"M0 5.5H22\"/>")
            };
            write!(
                f,
                "<li><svg class=\"chart\" viewBox=\"0 0 22 11\" aria-hidden=\"true\">{sample}</svg> {meaning}</li>"
            )?;
        }
        f.write_str("</ul>")
    }

    fn write_table(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { id, title, .. } = self;
        write!(
            f,
            "<details class=\"data\" id=\"{id}-data\"><summary>Numbers</summary><div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"Numbers: {title}\"><table><thead><tr>"
        )?;
        for (column, name) in self.head.iter().enumerate() {
            let class = if column == 0 { "" } else { " class=\"number\"" };
            write!(f, "<th scope=\"col\"{class}>{name}</th>")?;
        }
        f.write_str("</tr></thead><tbody>")?;
        for row in &self.rows {
            f.write_str("<tr>")?;
            for (column, text) in row.iter().enumerate() {
                match column {
                    0 => write!(f, "<th scope=\"row\" class=\"nowrap\">{text}</th>")?,
                    _ => write!(f, "<td class=\"number\">{text}</td>")?,
                }
            }
            f.write_str("</tr>")?;
        }
        f.write_str("</tbody></table></div></details>")
    }
}

/// Turns a share of the height, from below, to a place in the picture, from above.
fn height(share: f64) -> f64 {
    HEIGHT * (1.0 - share.clamp(0.0, 1.0))
}
