//! How often times of each size occurred. Ten buckets for each power of ten: as wide for 1 ms as for 100 ms, in proportion.

use serde_json::{Value, json};

/// The upper bound of the first bucket.
const FIRST: f64 = 0.1;
/// Characters of the longest bar.
const WIDTH: usize = 40;

/// Counts of both sides in the same buckets.
#[derive(Debug, Clone)]
pub struct Histogram {
    /// The upper bounds, the first bucket that has something first.
    bounds: Vec<f64>,
    ours: Vec<usize>,
    yardstick: Vec<usize>,
}

impl Histogram {
    /// Counts the figures of both sides.
    #[must_use]
    pub fn of(ours: &[f64], yardstick: &[f64]) -> Self {
        let most = ours.iter().chain(yardstick).copied().fold(FIRST, f64::max);
        let mut bounds = vec![FIRST];
        while bounds.last().is_some_and(|bound| *bound < most) {
            bounds.push(
                FIRST * 10_f64.powf(f64::from(u32::try_from(bounds.len()).unwrap_or(0)) / 10.0),
            );
        }
        let (mut ours, mut yardstick) = (counts(&bounds, ours), counts(&bounds, yardstick));
        let empty = (0..bounds.len())
            .take_while(|&bucket| ours[bucket] + yardstick[bucket] == 0)
            .count();
        for counts in [&mut ours, &mut yardstick] {
            counts.drain(..empty);
        }
        bounds.drain(..empty);
        Self {
            bounds,
            ours,
            yardstick,
        }
    }

    /// Draws a line for each bucket, ours to the left.
    #[must_use]
    pub fn lines(&self, unit: &str) -> Vec<String> {
        let most = self.ours.iter().chain(&self.yardstick).max().copied();
        let bar = |count: usize| "█".repeat((count * WIDTH).div_ceil(most.unwrap_or(1).max(1)));
        let buckets = self
            .bounds
            .iter()
            .zip(self.ours.iter().zip(&self.yardstick));
        let mut lines = vec![format!(
            "    {:>8} {:>6} {:<WIDTH$} {:>6}",
            format!("up to {unit}"),
            "ours",
            "",
            "yardstick"
        )];
        lines.extend(buckets.map(|(bound, (&ours, &yardstick))| {
            format!(
                "    {bound:>8.2} {ours:>6} {:<WIDTH$} {yardstick:>6} {}",
                bar(ours),
                bar(yardstick)
            )
        }));
        lines
    }

    pub(crate) fn as_json(&self) -> Value {
        json!({ "up_to": self.bounds, "ours": self.ours, "yardstick": self.yardstick })
    }
}

fn counts(bounds: &[f64], figures: &[f64]) -> Vec<usize> {
    let mut counts = vec![0; bounds.len()];
    for figure in figures {
        counts[bounds.partition_point(|bound| bound < figure)] += 1;
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::Histogram;

    #[test]
    fn every_figure_is_in_the_bucket_that_it_does_not_exceed() {
        let histogram = Histogram::of(&[0.95, 1.0, 1.1, 9.0], &[0.05]);

        let all = histogram.bounds.iter().zip(&histogram.ours);
        let ours: Vec<(String, usize)> = all
            .filter(|(_, count)| **count > 0)
            .map(|(bound, count)| (format!("{bound:.2}"), *count))
            .collect();
        let expected = [("1.00", 2), ("1.26", 1), ("10.00", 1)];
        assert_eq!(
            ours,
            expected.map(|(bound, count)| (bound.to_owned(), count))
        );
        assert_eq!(histogram.yardstick.iter().sum::<usize>(), 1);
    }

    #[test]
    fn buckets_below_all_figures_are_left_out() {
        let histogram = Histogram::of(&[2.0], &[3.0]);

        assert_eq!(histogram.ours[0], 1);
        assert_eq!(histogram.yardstick.last(), Some(&1));
    }

    #[test]
    fn the_longest_bar_is_that_of_the_greatest_count() {
        let histogram = Histogram::of(&[1.0, 1.0, 1.0, 1.0], &[2.0, 2.0]);

        let lines = histogram.lines("ms");

        let bars: Vec<usize> = lines.iter().map(|line| line.matches('█').count()).collect();
        assert_eq!(bars.iter().max(), Some(&40));
        assert_eq!(bars.last(), Some(&20));
    }

    #[test]
    fn no_figures_are_no_counts() {
        let histogram = Histogram::of(&[], &[]);

        assert_eq!(histogram.ours.iter().sum::<usize>(), 0);
    }
}
