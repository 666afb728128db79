//! When a queue's wake mark is set: interrupts while quiet, polling while busy. Policy only: no clock, no database.
//!
//! NOTIFY takes a database-wide lock at commit. While jobs come faster than they can be announced one by one, the worker
//! clears the mark and polls every few milliseconds; after the first quiet moment it sets the mark and sleeps.

use std::time::{Duration, Instant};

/// A mark changes at most ten times a second.
const LEAST_CHANGE: Duration = Duration::from_millis(100);
/// So many wake-ups or jobs in a window mean busy: beyond, a poll costs less than the wake-ups.
const BUSY_COUNT: usize = 25;
/// The window in which they are counted.
const WINDOW: Duration = Duration::from_millis(100);
/// Without a job for so long, the queue is quiet again.
const QUIET_AFTER: Duration = Duration::from_millis(50);
/// So many claims in a row that may have left something, with no quiet between them, mean a backlog. One is not enough: each
/// job that comes alone fills a lane of one slot, and the mark would change at nearly every job.
const BACKLOG_CLAIMS: usize = 3;
/// How often a busy queue that runs dry is polled.
pub(super) const BUSY_POLL: Duration = Duration::from_millis(4);
/// While no slot is free nobody polls: after so long a mark must be set for the other workers.
pub(super) const STALLED: Duration = Duration::from_millis(100);

/// What is to be done to the mark in the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum MarkChange {
    Set,
    Clear,
}

/// One queue's mark as this worker wants it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct WakeMark {
    set: bool,
    changed_at: Option<Instant>,
    found_at: Instant,
    window_start: Instant,
    window_count: usize,
    /// How many claims in a row may have left something.
    full_claims: usize,
}

impl WakeMark {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            set: false,
            changed_at: None,
            found_at: now,
            window_start: now,
            window_count: 0,
            full_claims: 0,
        }
    }

    /// Is true while the queue is polled instead of announced.
    pub(super) fn is_busy(&self) -> bool {
        !self.set
    }

    /// Notes a wake-up.
    pub(super) fn woken(&mut self, now: Instant) {
        self.count(now, 1);
    }

    /// Notes what a claim found; `full`: there may be more. Full of nothing, it was never looked at, and tells nothing.
    pub(super) fn claimed(&mut self, now: Instant, found: usize, full: bool) {
        if !full || self.is_quiet(now) {
            self.full_claims = 0;
        }
        if found > 0 {
            self.full_claims += usize::from(full);
            self.found_at = now;
            self.count(now, found);
        }
    }

    /// Notes that runs have ended. In a backlog that is no quiet, if claims are rare: it will claim the rest.
    pub(super) fn ended(&mut self, now: Instant) {
        if self.full_claims > 0 && !self.is_quiet(now) {
            self.found_at = now;
        }
    }

    /// Tells what is to be done to the mark now, if anything, and takes it as done.
    pub(super) fn change(&mut self, now: Instant) -> Option<MarkChange> {
        let first = self.changed_at.is_none();
        let may_change = self
            .changed_at
            .is_none_or(|at| now.duration_since(at) >= LEAST_CHANGE);
        let busy = self.full_claims >= BACKLOG_CLAIMS
            || self.window_count >= BUSY_COUNT
                && now.duration_since(self.window_start) <= 2 * WINDOW;
        let quiet = self.is_quiet(now);
        let change = match (self.set, may_change) {
            _ if first => Some(MarkChange::Set),
            (true, true) if busy && !quiet => Some(MarkChange::Clear),
            (false, true) if quiet => Some(MarkChange::Set),
            _ => None,
        };
        if let Some(change) = change {
            self.set = change == MarkChange::Set;
            self.changed_at = Some(now);
        }
        change
    }

    /// Forgets what it believes of the database, after a lost connection: the mark is set again first.
    pub(super) fn forget(&mut self) {
        self.changed_at = None;
    }

    fn is_quiet(&self, now: Instant) -> bool {
        now.duration_since(self.found_at) >= QUIET_AFTER
    }

    fn count(&mut self, now: Instant, events: usize) {
        if now.duration_since(self.window_start) > WINDOW {
            self.window_start = now;
            self.window_count = 0;
        }
        self.window_count += events;
    }
}

#[cfg(test)]
mod interleavings;
#[cfg(test)]
mod model;
#[cfg(test)]
mod worker;

#[cfg(test)]
mod tests {
    use super::*;

    fn after(start: Instant, ms: u64) -> Instant {
        start + Duration::from_millis(ms)
    }

    /// A mark that was set at the start, and is to be cleared after 150 ms.
    fn flooded(start: Instant) -> WakeMark {
        let mut mark = WakeMark::new(start);
        mark.change(start);
        for ms in [130, 140, 150] {
            mark.claimed(after(start, ms), 5, true);
        }
        mark
    }

    #[test]
    fn the_first_thing_is_to_set_the_mark() {
        let start = Instant::now();
        let mut mark = WakeMark::new(start);
        assert_eq!(mark.change(start), Some(MarkChange::Set));
        assert_eq!(mark.change(start), None);
    }

    #[test]
    fn a_flood_clears_the_mark_and_quiet_sets_it_again() {
        let start = Instant::now();
        let mut mark = flooded(start);
        assert_eq!(mark.change(after(start, 150)), Some(MarkChange::Clear));
        mark.claimed(after(start, 210), 0, false);
        assert_eq!(
            mark.change(after(start, 210)),
            None,
            "not before a tenth of a second"
        );
        assert_eq!(mark.change(after(start, 260)), Some(MarkChange::Set));
    }

    #[test]
    fn full_claims_with_quiet_between_them_or_with_dry_ones_keep_the_mark() {
        let start = Instant::now();
        let mut mark = WakeMark::new(start);
        mark.change(start);
        for ms in (200..2000).step_by(60) {
            mark.ended(after(start, ms));
            mark.claimed(after(start, ms), 1, true);
            assert_eq!(mark.change(after(start, ms)), None, "nobody would poll");
        }
        for ms in (2000..4000).step_by(20) {
            mark.claimed(after(start, ms), 1, true);
            mark.claimed(after(start, ms + 1), 0, false);
            assert_eq!(mark.change(after(start, ms + 1)), None);
        }
    }

    #[test]
    fn in_a_backlog_the_mark_stays_cleared_while_runs_end() {
        let start = Instant::now();
        let mut mark = flooded(start);
        assert_eq!(mark.change(after(start, 150)), Some(MarkChange::Clear));
        for ms in (180..1000).step_by(30) {
            mark.ended(after(start, ms));
            assert_eq!(mark.change(after(start, ms)), None, "claims are rare");
        }
        mark.claimed(after(start, 1000), 5, false);
        mark.ended(after(start, 1040));
        let change = mark.change(after(start, 1060));
        assert_eq!(change, Some(MarkChange::Set), "the backlog is claimed");
    }

    #[test]
    fn many_wake_ups_clear_the_mark_without_a_backlog() {
        let start = Instant::now();
        let mut mark = WakeMark::new(start);
        mark.change(start);
        for ms in 200..230 {
            mark.woken(after(start, ms));
            mark.claimed(after(start, ms), 1, false);
        }
        assert_eq!(mark.change(after(start, 230)), Some(MarkChange::Clear));
    }

    #[test]
    fn forty_jobs_a_second_keep_the_mark() {
        let start = Instant::now();
        let mut mark = WakeMark::new(start);
        mark.change(start);
        for ms in (200..2000).step_by(25) {
            mark.woken(after(start, ms));
            mark.claimed(after(start, ms), 1, false);
            assert_eq!(mark.change(after(start, ms)), None);
        }
    }
}
