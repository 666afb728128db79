//! The claim cursor of one queue: how far each priority has been visited. Policy only: no database.
//!
//! An ordered SKIP LOCKED scan walks over what was claimed before and over jobs of unknown kinds, again at each claim.
//! The cursor starts a claim behind the last row visited. Rows do appear behind it (`run_at` is the start of the host's
//! transaction; rollbacks; releases), so the statement lets it trail now by half a second, and sweeps look from the start.

use std::time::{Duration, Instant};

use diesel::pg::data_types::PgTimestamp;

/// Number of priorities.
pub(super) const PRIORITIES: usize = 10;
/// Where a scan starts that looks at everything: `-infinity`.
const START: (PgTimestamp, i64) = (PgTimestamp(i64::MIN), 0);
/// Everything due has been visited: `infinity`.
const END: (PgTimestamp, i64) = (PgTimestamp(i64::MAX), 0);
/// A sweep may cost this part of the time, as its interval over its cost …
const SWEEP_RATIO: u32 = 20;
/// … but happens at least so often, and not more often than so.
const SWEEP_INTERVAL: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(1));

/// A claimed row's place in the order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) priority: usize,
    pub(super) run_at: i64,
    pub(super) id: i64,
}

/// How far a queue has been visited.
#[derive(Debug)]
pub(super) struct Cursor {
    visited: [(PgTimestamp, i64); PRIORITIES],
    swept_at: Option<Instant>,
    sweep_cost: Duration,
}

impl Cursor {
    pub(super) fn new() -> Self {
        Self {
            visited: [START; PRIORITIES],
            swept_at: None,
            sweep_cost: Duration::ZERO,
        }
    }

    /// Gives the instant of the next sweep.
    pub(super) fn sweep_at(&self) -> Option<Instant> {
        let (least, most) = SWEEP_INTERVAL;
        self.swept_at
            .map(|at| at + (self.sweep_cost * SWEEP_RATIO).clamp(least, most))
    }

    pub(super) fn sweep_is_due(&self, now: Instant) -> bool {
        self.sweep_at().is_none_or(|at| at <= now)
    }

    /// Gives where the next claim starts, by priority.
    pub(super) fn starts(&self, sweep: bool) -> [(PgTimestamp, i64); PRIORITIES] {
        if sweep {
            [START; PRIORITIES]
        } else {
            self.visited
        }
    }

    pub(super) fn swept(&mut self, now: Instant, cost: Duration) {
        self.swept_at = Some(now);
        self.sweep_cost = cost;
    }

    /// Notes a claim that stopped at its limit: `last` is the last row it took.
    pub(super) fn stopped_at(&mut self, last: Place) {
        self.visited[..last.priority].fill(END);
        self.visited[last.priority] = (PgTimestamp(last.run_at), last.id);
    }

    /// Notes a claim that went through everything due.
    pub(super) fn exhausted(&mut self) {
        self.visited = [END; PRIORITIES];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claim_goes_on_behind_the_last_row_of_its_priority() {
        let mut cursor = Cursor::new();
        cursor.stopped_at(Place {
            priority: 5,
            run_at: 1000,
            id: 7,
        });
        let starts = cursor.starts(false);
        assert_eq!(starts[4], END);
        assert_eq!(starts[5], (PgTimestamp(1000), 7));
        assert_eq!(starts[6], START);
    }

    #[test]
    fn a_sweep_looks_from_the_start() {
        let mut cursor = Cursor::new();
        cursor.exhausted();
        assert_eq!(cursor.starts(true), [START; PRIORITIES]);
        assert_eq!(cursor.starts(false), [END; PRIORITIES]);
    }

    #[test]
    fn dear_sweeps_are_rarer_but_come_every_second() {
        let now = Instant::now();
        let mut cursor = Cursor::new();
        assert!(cursor.sweep_is_due(now), "the first claim sweeps");
        cursor.swept(now, Duration::from_millis(10));
        assert!(!cursor.sweep_is_due(now + Duration::from_millis(150)));
        assert!(cursor.sweep_is_due(now + Duration::from_millis(250)));
        cursor.swept(now, Duration::from_millis(400));
        assert!(cursor.sweep_is_due(now + Duration::from_secs(1)));
    }
}
