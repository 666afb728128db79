//! Counts of lengths of time, and what can be told of them.

use std::time::Duration;

use diesel::pg::Pg;

/// Bars of a [`Histogram`]: under 1 ms, then up to 1, 2, 4 … ms; the last holds everything from about 70 minutes on.
pub(crate) const HISTOGRAM_BARS: usize = 24;

/// Counts of lengths of time by power of two milliseconds.
#[derive(Debug, Clone, Default, PartialEq, Eq, diesel::deserialize::FromSqlRow)]
pub struct Histogram(Vec<i64>);

impl diesel::deserialize::FromSql<diesel::sql_types::Array<diesel::sql_types::BigInt>, Pg>
    for Histogram
{
    fn from_sql(value: diesel::pg::PgValue<'_>) -> diesel::deserialize::Result<Self> {
        Ok(Self(diesel::deserialize::FromSql::<
            diesel::sql_types::Array<diesel::sql_types::BigInt>,
            Pg,
        >::from_sql(value)?))
    }
}

impl Histogram {
    /// Gives how many were counted.
    #[must_use]
    pub fn count(&self) -> i64 {
        self.0.iter().sum()
    }

    /// Gives the bars: an upper bound and the count up to it, above the bound before.
    pub fn bars(&self) -> impl Iterator<Item = (Duration, i64)> + '_ {
        self.0
            .iter()
            .enumerate()
            .map(|(bar, count)| (Duration::from_millis(1 << bar), *count))
    }

    /// Adds the counts of another one.
    pub fn merge(&mut self, other: &Self) {
        if self.0.len() < other.0.len() {
            self.0.resize(other.0.len(), 0);
        }
        for (ours, theirs) in self.0.iter_mut().zip(&other.0) {
            *ours += theirs;
        }
    }

    /// Gives an upper bound of the length that `share` (0 to 1) of all stay under, right to a factor of two.
    #[must_use]
    pub fn percentile(&self, share: f64) -> Option<Duration> {
        #[expect(
            clippy::cast_precision_loss,
            reason = "counts of runs stay far below 2^52"
        )]
        let wanted = self.count() as f64 * share.clamp(0.0, 1.0);
        let mut seen = 0;
        self.bars().find_map(|(bound, count)| {
            seen += count;
            #[expect(clippy::cast_precision_loss, reason = "as above")]
            let reached = count > 0 && seen as f64 >= wanted;
            reached.then_some(bound)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_the_bound_that_so_many_stay_under() {
        let histogram = Histogram(vec![0, 90, 0, 9, 1]);
        assert_eq!(histogram.percentile(0.5), Some(Duration::from_millis(2)));
        assert_eq!(histogram.percentile(0.99), Some(Duration::from_millis(8)));
        assert_eq!(histogram.percentile(1.0), Some(Duration::from_millis(16)));
        assert_eq!(Histogram(vec![0; 24]).percentile(0.5), None);
    }

    #[test]
    fn histograms_add_up_bar_by_bar() {
        let mut sum = Histogram::default();
        sum.merge(&Histogram(vec![1, 2]));
        sum.merge(&Histogram(vec![0, 3, 4]));
        assert_eq!(sum, Histogram(vec![1, 5, 4]));
    }
}
