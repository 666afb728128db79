//! A line of a row: how a count went, without axes.

use std::fmt;

use askama::filters::HtmlSafe;

use super::series::ratio;

/// A few counts, the oldest first.
#[derive(Debug, Clone)]
pub(crate) struct Spark(pub(crate) Vec<i64>);

/// It writes digits only.
impl HtmlSafe for Spark {}

impl fmt::Display for Spark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let largest = self.0.iter().copied().max().unwrap_or(0);
        let total: i64 = self.0.iter().sum();
        let wide = i64::try_from(self.0.len()).unwrap_or(1).max(1);
        write!(
            f,
            "<svg class=\"chart spark\" viewBox=\"0 0 100 20\" preserveAspectRatio=\"none\" role=\"img\" aria-label=\"{total} runs in the last hour, at most {largest} in a bar\">"
        )?;
        for (place, count) in (0..).zip(&self.0) {
            if *count > 0 {
                let tall = (ratio(*count, largest) * 19.0).max(1.0);
                let (x, y, width) = (
                    ratio(place, wide) * 100.0,
                    20.0 - tall,
                    100.0 / ratio(wide, 1) * 0.8,
                );
                write!(
                    f,
                    "<rect class=\"bar completed\" x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{tall:.1}\"/>"
                )?;
            }
        }
        f.write_str("</svg>")
    }
}
