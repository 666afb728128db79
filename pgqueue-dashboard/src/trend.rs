//! How many jobs died in each of the last 24 hours, as bars: small beside a row, or large with a bar's count as its title.

use std::fmt;

use askama::filters::HtmlSafe;
use chrono::{DateTime, FixedOffset, TimeDelta, Utc};

use crate::show;

/// Counts stop there: the core stands it for more.
const HOUR_LIMIT: i64 = 1000;
/// What one bar takes of the width, with its gap.
const STEP: usize = 5;

/// The deaths of the last hours, the oldest first.
pub(crate) struct Trend<'a> {
    pub(crate) hours: &'a [i64],
    pub(crate) now: DateTime<Utc>,
    pub(crate) zone: FixedOffset,
    pub(crate) is_large: bool,
}

/// One hour of it.
pub(crate) struct Hour {
    /// `14:05–15:05`: the hours are counted back from now.
    pub(crate) span: String,
    /// `12`, or `1 000 or more`.
    pub(crate) died: String,
}

impl Trend<'_> {
    /// Gives the highest of the hours.
    pub(crate) fn peak(&self) -> i64 {
        self.hours.iter().copied().max().unwrap_or(0)
    }

    /// Gives the hours, the newest first, as a table lists them.
    pub(crate) fn table(&self) -> Vec<Hour> {
        (0..self.hours.len())
            .rev()
            .map(|at| self.hour(at))
            .collect()
    }

    fn hour(&self, at: usize) -> Hour {
        let time = |ago: usize| {
            let ago = TimeDelta::hours(i64::try_from(ago).unwrap_or(0));
            (self.now - ago).with_timezone(&self.zone).format("%H:%M")
        };
        let ago = self.hours.len() - at;
        Hour {
            span: format!("{}–{}", time(ago), time(ago - 1)),
            died: died(self.hours[at]),
        }
    }

    /// Tells in words what the bars show.
    pub(crate) fn words(&self) -> String {
        let span = self.hours.len();
        let peak = self.peak();
        match self.hours.iter().position(|count| *count == peak) {
            Some(at) if peak > 0 => {
                let Hour { span: when, died } = self.hour(at);
                format!("Deaths an hour in the last {span} h: at most {died}, at {when}")
            }
            _ => format!("No deaths in the last {span} h"),
        }
    }

    fn write_bars(&self, f: &mut fmt::Formatter<'_>, height: i64) -> fmt::Result {
        let peak = self.peak().max(1);
        for (at, count) in self
            .hours
            .iter()
            .enumerate()
            .filter(|(_, count)| **count > 0)
        {
            // One job among hundreds is still to be seen.
            let size = (count * height / peak).max(2);
            let (x, y, width) = (at * STEP, height - size, STEP - 1);
            write!(
                f,
                "<rect class=\"bar dead\" x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{size}\">"
            )?;
            if self.is_large {
                let Hour { span, died } = self.hour(at);
                write!(f, "<title>{span}: {died}</title>")?;
            }
            f.write_str("</rect>")?;
        }
        Ok(())
    }
}

fn died(count: i64) -> String {
    let text = show::count(count);
    if count < HOUR_LIMIT {
        text
    } else {
        format!("{text} or more")
    }
}

/// It writes nothing but digits and its own elements.
impl HtmlSafe for Trend<'_> {}

impl fmt::Display for Trend<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (class, height) = if self.is_large {
            ("trend", 100)
        } else {
            ("spark", 24)
        };
        let (words, width) = (self.words(), self.hours.len() * STEP);
        write!(
            f,
            "<svg class=\"chart {class}\" viewBox=\"0 0 {width} {height}\" preserveAspectRatio=\"none\" role=\"img\" aria-label=\"{words}\">"
        )?;
        if !self.is_large {
            write!(f, "<title>{words}</title>")?;
        }
        write!(
            f,
            "<path class=\"axis\" d=\"M0 {height}H{width}\" vector-effect=\"non-scaling-stroke\"/>"
        )?;
        self.write_bars(f, height)?;
        f.write_str("</svg>")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trend(hours: &[i64]) -> Trend<'_> {
        Trend {
            hours,
            now: DateTime::from_timestamp(1_700_000_000, 0).unwrap(),
            zone: show::utc(),
            is_large: false,
        }
    }

    #[test]
    fn bars_are_as_high_as_their_hours_and_the_least_is_still_seen() {
        let hours = [0, 1, 500, 1000];

        let drawn = trend(&hours).to_string();

        assert_eq!(drawn.matches("<rect").count(), 3, "{drawn}");
        assert!(
            drawn.contains("x=\"5\" y=\"22\" width=\"4\" height=\"2\""),
            "{drawn}"
        );
        assert!(
            drawn.contains("x=\"15\" y=\"0\" width=\"4\" height=\"24\""),
            "{drawn}"
        );
        assert!(
            drawn.contains("at most 1\u{202f}000 or more, at 21:13–22:13"),
            "{drawn}"
        );
    }

    #[test]
    fn a_trend_of_nothing_says_so() {
        assert!(
            trend(&[0; 24])
                .to_string()
                .contains("No deaths in the last 24 h")
        );
        assert!(trend(&[]).to_string().contains("No deaths"));
    }
}
