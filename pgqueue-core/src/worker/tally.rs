//! Counts of ended runs a minute, queue and kind, kept in memory and stored as absolute values every few seconds.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, DurationRound, TimeDelta, Utc};
use serde::Serialize;
use serde_json::{Value, json};

use crate::state::JobState;
use crate::stats::HISTOGRAM_BARS;

/// How long after a minute something may still be counted in it.
const LATE_MINUTES: i64 = 5;

/// What one ended run counts as.
#[derive(Debug, Clone)]
pub(super) struct Count<'a> {
    pub(super) queue: &'a str,
    pub(super) kind: &'a str,
    pub(super) ended: Ended,
    pub(super) run: Duration,
    pub(super) waited: Duration,
}

/// How a run ended, as far as statistics tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    Completed,
    Failed { now: JobState },
    Cancelled,
    Snoozed,
}

#[derive(Debug, Clone, Serialize)]
struct Row {
    bucket: DateTime<Utc>,
    worker_id: i64,
    queue: String,
    kind: String,
    completed: i64,
    failed: i64,
    dead: i64,
    cancelled: i64,
    snoozed: i64,
    lost: i64,
    lease_lost: i64,
    run_ms_sum: i64,
    wait_ms_sum: i64,
    run_ms: [i64; HISTOGRAM_BARS],
    wait_ms: [i64; HISTOGRAM_BARS],
}

/// The worker's own counts, under each id that it has had. The minutes that are over are dropped once they are stored.
#[derive(Debug, Default)]
pub(super) struct Tally {
    rows: BTreeMap<(DateTime<Utc>, String, String, i64), Row>,
    worker_id: i64,
    changed: bool,
}

impl Tally {
    /// Counts under another worker id from now on. What was counted under the old one stays: nobody else has had that id.
    pub(super) fn go_on_as(&mut self, worker_id: i64) {
        self.worker_id = worker_id;
    }

    /// Counts a run that ended at `now`, by the database's clock.
    pub(super) fn count(&mut self, now: DateTime<Utc>, count: &Count<'_>) {
        self.row(now, count.queue, count.kind).add(count);
    }

    /// Counts a job that this worker took from a dead one; how long its run took is not known.
    pub(super) fn count_lost(
        &mut self,
        now: DateTime<Utc>,
        queue: &str,
        kind: &str,
        state: JobState,
    ) {
        let row = self.row(now, queue, kind);
        row.lost += 1;
        row.dead += i64::from(state == JobState::Dead);
        row.cancelled += i64::from(state == JobState::Cancelled);
    }

    /// Counts an end of a run of this worker that came after its lease was lost.
    pub(super) fn count_lease_lost(&mut self, now: DateTime<Utc>, queue: &str, kind: &str) {
        self.row(now, queue, kind).lease_lost += 1;
    }

    fn row(&mut self, now: DateTime<Utc>, queue: &str, kind: &str) -> &mut Row {
        self.changed = true;
        let bucket = now.duration_trunc(TimeDelta::minutes(1)).unwrap_or(now);
        let key = (bucket, queue.to_owned(), kind.to_owned(), self.worker_id);
        self.rows
            .entry(key)
            .or_insert_with_key(|(bucket, queue, kind, worker_id)| Row {
                bucket: *bucket,
                worker_id: *worker_id,
                queue: queue.clone(),
                kind: kind.clone(),
                completed: 0,
                failed: 0,
                dead: 0,
                cancelled: 0,
                snoozed: 0,
                lost: 0,
                lease_lost: 0,
                run_ms_sum: 0,
                wait_ms_sum: 0,
                run_ms: [0; HISTOGRAM_BARS],
                wait_ms: [0; HISTOGRAM_BARS],
            })
    }

    /// Gives the rows to store, if anything changed since the last call.
    pub(super) fn changes(&mut self) -> Option<Value> {
        std::mem::take(&mut self.changed).then(|| json!(self.rows.values().collect::<Vec<_>>()))
    }

    /// Says that the rows could not be stored.
    pub(super) fn keep(&mut self) {
        self.changed = true;
    }

    /// Drops the minutes that are over for good, after they were stored: a late end may still be counted in the last ones,
    /// and a minute that starts anew would overwrite what is stored.
    pub(super) fn stored(&mut self) {
        if self.changed {
            return; // counted meanwhile: maybe in an older minute
        }
        if let Some(newest) = self.rows.keys().next_back().map(|(bucket, ..)| *bucket) {
            self.rows
                .retain(|(bucket, ..), _| newest - *bucket <= TimeDelta::minutes(LATE_MINUTES));
        }
    }
}

impl Row {
    fn add(&mut self, count: &Count<'_>) {
        match count.ended {
            Ended::Completed => self.completed += 1,
            Ended::Cancelled => self.cancelled += 1,
            Ended::Snoozed => self.snoozed += 1,
            Ended::Failed { now } => {
                self.failed += 1;
                self.dead += i64::from(now == JobState::Dead);
            }
        }
        let (run, waited) = (milliseconds(count.run), milliseconds(count.waited));
        self.run_ms_sum += run;
        self.wait_ms_sum += waited;
        self.run_ms[bar(run)] += 1;
        self.wait_ms[bar(waited)] += 1;
    }
}

fn milliseconds(length: Duration) -> i64 {
    i64::try_from(length.as_millis()).unwrap_or(i64::MAX)
}

/// Gives the bar of a histogram: 0 is under 1 ms, bar n is from 2^(n−1) up to 2^n ms, the last is everything longer.
fn bar(milliseconds: i64) -> usize {
    let bits = u64::BITS - u64::try_from(milliseconds).unwrap_or(0).leading_zeros();
    usize::try_from(bits)
        .unwrap_or(HISTOGRAM_BARS)
        .min(HISTOGRAM_BARS - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_spans_from_one_power_of_two_to_the_next() {
        assert_eq!(
            [0, 1, 2, 3, 4, 1000, i64::MAX].map(bar),
            [0, 1, 2, 2, 3, 10, HISTOGRAM_BARS - 1]
        );
    }

    #[test]
    fn minutes_that_are_over_are_dropped_once_stored() {
        let count = Count {
            queue: "q",
            kind: "k",
            ended: Ended::Completed,
            run: Duration::from_millis(3),
            waited: Duration::ZERO,
        };
        let minute: DateTime<Utc> = DateTime::from_timestamp(1_700_000_040, 0).unwrap();
        let mut tally = Tally::default();
        tally.count(minute, &count);
        tally.count(minute + TimeDelta::seconds(600), &count);
        assert_eq!(tally.changes().unwrap().as_array().unwrap().len(), 2);
        tally.stored();
        assert_eq!(tally.changes(), None);
        tally.count(minute + TimeDelta::seconds(601), &count);
        let rows = tally.changes().unwrap();
        assert_eq!(
            (rows.as_array().unwrap().len(), &rows[0]["completed"]),
            (1, &json!(2))
        );
    }
}
