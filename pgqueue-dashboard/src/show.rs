//! How times, lengths and counts are written.

use std::fmt;
use std::time::Duration;

use askama::filters::HtmlSafe;
use chrono::{DateTime, FixedOffset, Utc};

/// A time as an element `<time>`, whose text the browser keeps up to date.
pub(crate) struct Moment {
    pub(crate) at: DateTime<Utc>,
    pub(crate) now: DateTime<Utc>,
    pub(crate) zone: FixedOffset,
    pub(crate) relative: bool,
}

/// It writes nothing but digits, letters and its own element.
impl HtmlSafe for Moment {}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let machine = self.at.format("%Y-%m-%dT%H:%M:%S%.3fZ");
        let local = self.at.with_timezone(&self.zone);
        let zone = if self.zone.local_minus_utc() == 0 {
            "UTC".to_owned()
        } else {
            local.format("%:z").to_string()
        };
        let exact = format!("{} {zone}", local.format("%Y-%m-%d %H:%M:%S"));
        if self.relative {
            let text = relative(self.at, self.now);
            write!(
                f,
                "<time datetime=\"{machine}\" title=\"{exact}\" data-relative>{text}</time>"
            )
        } else {
            write!(f, "<time datetime=\"{machine}\">{exact}</time>")
        }
    }
}

/// Writes a time as seen from `now`: `3 min ago`, `in 2 h`.
pub(crate) fn relative(at: DateTime<Utc>, now: DateTime<Utc>) -> String {
    let length = (now - at).abs().to_std().unwrap_or_default();
    if length < Duration::from_secs(1) {
        "now".to_owned()
    } else if at <= now {
        format!("{} ago", rough(length))
    } else {
        format!("in {}", rough(length))
    }
}

/// Writes a length in its largest unit.
fn rough(length: Duration) -> String {
    let seconds = length.as_secs();
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min", seconds / 60),
        3600..86_400 => format!("{} h", seconds / 3600),
        _ => format!("{} d", seconds / 86_400),
    }
}

/// Writes a length in its two largest units: `850 ms`, `2.4 s`, `3 min 20 s`, `5 h 2 min`, `2 d 3 h`.
pub(crate) fn span(length: Duration) -> String {
    let seconds = length.as_secs();
    let pair = |large: u64, large_name: &str, small: u64, small_name: &str| match small {
        0 => format!("{large} {large_name}"),
        _ => format!("{large} {large_name} {small} {small_name}"),
    };
    match seconds {
        0 => format!("{} ms", length.as_millis()),
        1..10 => format!("{:.1} s", length.as_secs_f64()),
        10..60 => format!("{seconds} s"),
        60..3600 => pair(seconds / 60, "min", seconds % 60, "s"),
        3600..86_400 => pair(seconds / 3600, "h", seconds / 60 % 60, "min"),
        _ => pair(seconds / 86_400, "d", seconds / 3600 % 24, "h"),
    }
}

/// Writes a count with narrow spaces: `12 345`.
pub(crate) fn count(count: i64) -> String {
    let digits = count.unsigned_abs().to_string();
    let mut text = String::from(if count < 0 { "−" } else { "" });
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            text.push('\u{202f}');
        }
        text.push(digit);
    }
    text
}

/// Writes a count that may have stopped at a limit: `10 000+`.
pub(crate) fn at_least(count: pgqueue_core::stats::Count) -> String {
    let more = if count.exact { "" } else { "+" };
    format!("{}{more}", self::count(count.at_least))
}

/// Writes a large count roughly: `~1.9 M`.
pub(crate) fn about(count: f64) -> String {
    let (value, unit) = match count {
        count if count >= 1e9 => (count / 1e9, " G"),
        count if count >= 1e6 => (count / 1e6, " M"),
        count if count >= 1e4 => (count / 1e3, " k"),
        count => (count, ""),
    };
    if unit.is_empty() || value >= 100.0 {
        format!("~{value:.0}{unit}")
    } else {
        format!("~{value:.1}{unit}")
    }
}

/// Writes bytes: `640 B`, `1.2 MB`.
pub(crate) fn bytes(bytes: f64) -> String {
    let units = ["B", "kB", "MB", "GB", "TB"];
    let mut value = bytes;
    let mut unit = 0;
    while value >= 1000.0 && unit + 1 < units.len() {
        value /= 1000.0;
        unit += 1;
    }
    if unit == 0 || value >= 100.0 {
        format!("{value:.0} {}", units[unit])
    } else {
        format!("{value:.1} {}", units[unit])
    }
}

pub(crate) fn utc() -> FixedOffset {
    FixedOffset::east_opt(0).expect("invariant: 0 is an offset")
}

/// Keeps so many characters of a text, and tells whether there were more.
pub(crate) fn cut(mut text: String, limit: usize) -> (String, bool) {
    let end = text.char_indices().nth(limit);
    if let Some((end, _)) = end {
        text.truncate(end);
    }
    (text, end.is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_and_counts_are_written_in_their_largest_units() {
        assert_eq!(span(Duration::from_millis(850)), "850 ms");
        assert_eq!(span(Duration::from_millis(2400)), "2.4 s");
        assert_eq!(span(Duration::from_secs(200)), "3 min 20 s");
        assert_eq!(span(Duration::from_secs(3600)), "1 h");
        assert_eq!(count(1_234_567), "1\u{202f}234\u{202f}567");
        assert_eq!(count(-1_000), "−1\u{202f}000");
        assert_eq!(about(1_920_000.0), "~1.9 M");
        assert_eq!(bytes(1_234_000.0), "1.2 MB");
    }

    #[test]
    fn a_time_is_told_from_now() {
        let now = DateTime::from_timestamp(1_700_000_000, 0).unwrap();
        assert_eq!(relative(now, now), "now");
        assert_eq!(
            relative(now - chrono::TimeDelta::seconds(200), now),
            "3 min ago"
        );
        assert_eq!(
            relative(now + chrono::TimeDelta::seconds(7300), now),
            "in 2 h"
        );
    }
}
