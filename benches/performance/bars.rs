//! Charts of bars that lie: a label, our bar with its spread, the yardstick's beneath it, and the target as a line. They are
//! read at 400 pixels, so the smallest letters are 12 of 480.

use super::svg::{DARK, Drawing, LIGHT, Palette};
use crate::bench::number::{figure, most};

const WIDTH: f64 = 480.0;
const MARGIN: f64 = 12.0;
/// Where the bars of a chart begin whose labels are at their left.
const LABELS: f64 = 92.0;
/// What is kept free for the value behind the longest bar.
const VALUES: f64 = 74.0;
const BAR: f64 = 14.0;
const BESIDE: f64 = 7.0;

/// One bar.
#[derive(Debug, Clone, PartialEq)]
pub struct Bar {
    /// What it is.
    pub label: String,
    /// Its length.
    pub value: f64,
    /// The least and the most, where it was measured more than once.
    pub spread: Option<(f64, f64)>,
    /// The yardstick's length.
    pub beside: Option<f64>,
    /// Where it should end, or not go beyond.
    pub target: Option<f64>,
    /// It is ours, and not somebody else's.
    pub is_ours: bool,
}

/// A chart.
#[derive(Debug, Clone, PartialEq)]
pub struct Chart {
    /// What is shown.
    pub title: String,
    /// The unit, and which direction is better.
    pub unit: String,
    /// From top to bottom.
    pub bars: Vec<Bar>,
    /// What the thin bars are, in the legend.
    pub beside: String,
    /// What the thick bars are, in the legend.
    pub ours: String,
    /// A histogram: short labels stand at the left of their bars, which are counts.
    pub is_dense: bool,
}

impl Chart {
    /// Draws the chart for light pages.
    #[must_use]
    pub fn light(&self) -> String {
        self.draw(&LIGHT)
    }

    /// Draws the chart for dark pages.
    #[must_use]
    pub fn dark(&self) -> String {
        self.draw(&DARK)
    }

    /// Says in words what the chart shows.
    #[must_use]
    pub fn description(&self) -> String {
        let bars: Vec<String> = self.bars.iter().map(|bar| self.described(bar)).collect();
        format!("{}. {}", self.unit, bars.join("; "))
    }

    fn described(&self, bar: &Bar) -> String {
        let mut text = format!("{}: {}", bar.label, self.written(bar.value));
        if let Some((least, most)) = bar.spread {
            text.push_str(&format!(" ({} to {})", figure(least), figure(most)));
        }
        if let Some(beside) = bar.beside {
            text.push_str(&format!(", {} {}", self.beside, self.written(beside)));
        }
        if let Some(target) = bar.target {
            text.push_str(&format!(", target {}", figure(target)));
        }
        text
    }

    fn draw(&self, palette: &Palette) -> String {
        let mut drawing = Drawing::default();
        drawing.text(
            MARGIN,
            24.0,
            "font-size=\"15\" font-weight=\"600\"",
            &self.title,
        );
        drawing.text(MARGIN, 42.0, "font-size=\"12\"", &self.unit);
        let mut y = 56.0;
        for bar in &self.bars {
            self.draw_bar(&mut drawing, bar, y, palette);
            y += self.row_height();
        }
        self.draw_legend(&mut drawing, y + 14.0, palette);
        drawing.finish((WIDTH, y + 28.0), &self.title, &self.description(), palette)
    }

    fn draw_bar(&self, drawing: &mut Drawing, bar: &Bar, top: f64, palette: &Palette) {
        let (left, scale) = (self.left(), self.scale());
        let y = if self.is_dense {
            drawing.text(MARGIN, top + 12.0, "font-size=\"12\"", &bar.label);
            top
        } else {
            drawing.text(MARGIN, top + 11.0, "", &bar.label);
            top + 17.0
        };
        let fill = if bar.is_ours {
            palette.ours
        } else {
            palette.beside
        };
        drawing.rect([left, y, bar.value.max(0.0) * scale, BAR], fill);
        let mut end = bar.value;
        if let Some(beside) = bar.beside {
            drawing.rect(
                [left, y + BAR, beside.max(0.0) * scale, BESIDE],
                palette.beside,
            );
        }
        if let Some((least, most)) = bar.spread {
            let middle = y + BAR / 2.0;
            let (from, to) = (left + least * scale, left + most * scale);
            drawing.line([from, middle, to, middle], palette.text, 1.5);
            for x in [from, to] {
                drawing.line([x, middle - 4.0, x, middle + 4.0], palette.text, 1.5);
            }
            end = end.max(most);
        }
        if let Some(target) = bar.target {
            let x = left + target * scale;
            drawing.line([x, y - 3.0, x, y + BAR + BESIDE + 2.0], palette.target, 2.5);
            // The value is not written across the line.
            if (end * scale..end * scale + VALUES).contains(&(target * scale)) {
                end = target;
            }
        }
        drawing.text(
            left + end * scale + 6.0,
            y + 12.0,
            "font-size=\"12\"",
            &self.written(bar.value),
        );
    }

    fn draw_legend(&self, drawing: &mut Drawing, y: f64, palette: &Palette) {
        let mut x = MARGIN;
        let mut entry = |colour: &str, width: f64, text: &str| {
            drawing.rect([x, y - 9.0, width, 10.0], colour);
            drawing.text(x + width + 5.0, y, "font-size=\"12\"", text);
            x += width + 20.0 + 6.4 * length(text);
        };
        entry(palette.ours, 10.0, &self.ours);
        if self
            .bars
            .iter()
            .any(|bar| bar.beside.is_some() || !bar.is_ours)
        {
            entry(palette.beside, 10.0, &self.beside);
        }
        if self.bars.iter().any(|bar| bar.target.is_some()) {
            entry(palette.target, 3.0, "target");
        }
        if self.bars.iter().any(|bar| bar.spread.is_some()) {
            entry(palette.text, 10.0, "spread");
        }
    }

    /// Writes a length; what a dense chart shows is counted and not measured.
    fn written(&self, value: f64) -> String {
        if self.is_dense {
            format!("{value:.0}")
        } else {
            figure(value)
        }
    }

    fn row_height(&self) -> f64 {
        let has_beside = self.bars.iter().any(|bar| bar.beside.is_some());
        let bars = BAR + if has_beside { BESIDE } else { 0.0 };
        if self.is_dense {
            bars + 5.0
        } else {
            bars + 28.0
        }
    }

    fn left(&self) -> f64 {
        if self.is_dense { LABELS } else { MARGIN }
    }

    /// Pixels of one unit.
    fn scale(&self) -> f64 {
        let ends: Vec<f64> = self.bars.iter().flat_map(ends).collect();
        (WIDTH - self.left() - VALUES) / most(&ends).max(f64::MIN_POSITIVE)
    }
}

/// Gives everything of a bar that must fit.
fn ends(bar: &Bar) -> impl Iterator<Item = f64> {
    let spread = bar.spread.map(|(_, most)| most);
    [Some(bar.value), bar.beside, bar.target, spread]
        .into_iter()
        .flatten()
}

fn length(text: &str) -> f64 {
    u32::try_from(text.chars().count()).map_or(0.0, f64::from)
}
