//! Axes: which values get a tick, and how it is written.

use std::time::Duration;

use chrono::{DateTime, FixedOffset, Timelike as _};

use crate::show;

/// Ticks of an axis of counts: round numbers from zero to the first that is not below `largest`, five at most.
pub(crate) fn counts(largest: i64) -> Vec<i64> {
    let largest = largest.max(1);
    let step = (0..18)
        .flat_map(|power| [1, 2, 5].map(|digit| digit * 10_i64.pow(power)))
        .find(|step| step * 4 >= largest)
        .unwrap_or(largest);
    let steps = (largest - 1) / step + 1;
    (0..=steps).map(|tick| tick * step).collect()
}

/// Lengths of time that an axis may name, by about ten times each.
const LENGTHS: [u64; 10] = [
    1,
    10,
    100,
    1000,
    10_000,
    60_000,
    600_000,
    3_600_000,
    36_000_000,
    432_000_000,
];

/// Ticks of a logarithmic axis of lengths in milliseconds that holds all from `least` to `largest`.
pub(crate) fn lengths(least: u64, largest: u64) -> Vec<u64> {
    let last = LENGTHS.len() - 1;
    let low = LENGTHS.iter().rposition(|tick| *tick <= least).unwrap_or(0);
    let low = low.min(last - 1);
    let high = LENGTHS
        .iter()
        .position(|tick| *tick >= largest)
        .unwrap_or(last);
    LENGTHS[low..=high.max(low + 1)].to_vec()
}

/// Where a length lies between the ends of a logarithmic axis, from 0 to 1.
#[expect(clippy::cast_precision_loss, reason = "pixels are rougher")]
pub(crate) fn position(length: u64, ticks: &[u64]) -> f64 {
    let (low, high) = (
        ticks.first().copied().unwrap_or(1),
        ticks.last().copied().unwrap_or(10),
    );
    let log = |value: u64| (value.max(1) as f64).ln();
    ((log(length) - log(low)) / (log(high) - log(low))).clamp(0.0, 1.0)
}

/// Steps between ticks of time, in seconds: parts of an hour, of a day, and days.
const TIMES: [i64; 15] = [
    60, 120, 300, 600, 900, 1800, 3600, 7200, 10_800, 21_600, 43_200, 86_400, 172_800, 432_000,
    864_000,
];

/// Ticks of time from one second to another, at most six, round in the zone of the visitor.
pub(crate) fn times(from: i64, to: i64, zone: FixedOffset) -> Vec<(i64, String)> {
    let step = TIMES
        .into_iter()
        .find(|step| (to - from) / step <= 5)
        .unwrap_or((to - from).max(1));
    let shift = i64::from(zone.local_minus_utc());
    let first = (from + shift + step - 1).div_euclid(step) * step - shift;
    let mut ticks = Vec::new();
    let mut tick = first;
    while tick <= to {
        ticks.push((tick, time(tick, step, zone)));
        tick += step;
    }
    ticks
}

/// Writes a tick: the hour, or the day where a day begins.
fn time(tick: i64, step: i64, zone: FixedOffset) -> String {
    let local = DateTime::from_timestamp(tick, 0)
        .unwrap_or_default()
        .with_timezone(&zone);
    if step >= 86_400 || (local.hour() == 0 && local.minute() == 0) {
        local.format("%-d %b").to_string()
    } else {
        local.format("%H:%M").to_string()
    }
}

/// Writes a count as short as an axis needs it: `20`, `1.5k`, `2M`.
pub(crate) fn short(count: i64) -> String {
    let (unit, name) = match count {
        1_000_000_000.. => (1_000_000_000, "G"),
        1_000_000.. => (1_000_000, "M"),
        10_000.. => (1_000, "k"),
        _ => return show::count(count),
    };
    let (whole, tenth) = (count / unit, count % unit * 10 / unit);
    match tenth {
        0 => format!("{whole}{name}"),
        _ => format!("{whole}.{tenth}{name}"),
    }
}

/// Writes a length in milliseconds for an axis.
pub(crate) fn length(milliseconds: u64) -> String {
    match milliseconds {
        1000..60_000 => format!("{} s", milliseconds / 1000),
        _ => show::span(Duration::from_millis(milliseconds)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_axis_of_counts_ends_at_the_first_round_number_above_all() {
        assert_eq!(counts(0), [0, 1]);
        assert_eq!(counts(1), [0, 1]);
        assert_eq!(counts(7), [0, 2, 4, 6, 8]);
        assert_eq!(counts(23), [0, 10, 20, 30]);
        assert_eq!(counts(1999), [0, 500, 1000, 1500, 2000]);
        for largest in [3, 12, 99, 101, 123_456, i64::MAX / 100] {
            let ticks = counts(largest);
            assert!(ticks.len() <= 5 && *ticks.last().unwrap() >= largest);
        }
    }

    #[test]
    fn an_axis_of_lengths_holds_the_least_and_the_largest() {
        assert_eq!(lengths(4, 64), [1, 10, 100]);
        assert_eq!(lengths(1, 1), [1, 10]);
        assert_eq!(lengths(2048, 2048), [1000, 10_000]);
        assert_eq!(lengths(u64::MAX, u64::MAX).len(), 2);
        assert!((position(10, &[1, 10, 100]) - 0.5).abs() < 1e-9);
    }

    #[test]
    fn ticks_of_time_are_round_in_the_zone_of_the_visitor() {
        let zone = FixedOffset::east_opt(5 * 3600 + 1800).unwrap();
        let day = 1_700_000_000 - 1_700_000_000 % 86_400;
        let ticks = times(day, day + 86_400, zone);
        assert!(ticks.len() <= 6, "{ticks:?}");
        assert!(ticks.iter().any(|(_, name)| name == "12:00"), "{ticks:?}");
        for length in [900, 3600, 21_600, 86_400, 604_800, 2_592_000] {
            let ticks = times(day, day + length, show::utc());
            assert!((2..=6).contains(&ticks.len()), "{length}: {ticks:?}");
        }
    }

    #[test]
    fn counts_and_lengths_are_short_on_an_axis() {
        assert_eq!(short(1500), "1\u{202f}500");
        assert_eq!(short(15_500), "15.5k");
        assert_eq!(short(2_000_000), "2M");
        assert_eq!(length(10_000), "10 s");
        assert_eq!(length(100), "100 ms");
        assert_eq!(length(432_000_000), "5 d");
    }
}
