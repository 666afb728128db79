//! When time alone is a reason to look at the queues: the poll, and the re-polls after a mark was set. Policy only: no clock,
//! no database.

use std::time::{Duration, Instant};

/// The first re-poll after a mark was set; each next one comes after twice the time, up to the poll interval.
/// It finds the job of a transaction that looked before the mark was set and committed after the claim.
pub(super) const FIRST_REPOLL: Duration = Duration::from_millis(10);

/// The next poll and the next re-poll.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Polls {
    interval: Duration,
    poll_at: Instant,
    repoll: Duration,
    repoll_at: Instant,
    /// The other workers need not be asked: they have been since we set a mark, or asked us, or our re-polls are over.
    asked: bool,
}

/// What has come due.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub(super) struct Passed {
    pub(super) poll: bool,
    pub(super) repoll: bool,
}

impl Polls {
    /// The polls of a worker that has just started: the first is due.
    pub(super) fn new(now: Instant, interval: Duration) -> Self {
        Self {
            interval,
            poll_at: now,
            repoll: FIRST_REPOLL.min(interval),
            repoll_at: now,
            asked: true,
        }
    }

    /// Begins to re-poll: we have set a mark.
    pub(super) fn mark_set(&mut self, now: Instant) {
        self.repoll = FIRST_REPOLL.min(self.interval);
        self.repoll_at = now + self.repoll;
        self.asked = false;
    }

    /// Begins to re-poll: a worker has asked for it. Maybe that was us.
    pub(super) fn asked_to(&mut self, now: Instant) {
        self.mark_set(now);
        self.asked = true;
    }

    /// Notes that time is a reason to look.
    pub(super) fn pass(&mut self, now: Instant) -> Passed {
        let passed = Passed {
            poll: self.poll_at <= now,
            repoll: self.repoll_at <= now,
        };
        self.asked |= self.repoll >= self.interval; // the last of them has passed before
        if passed.repoll {
            self.repoll = (self.repoll * 2).min(self.interval);
            self.repoll_at = now + self.repoll;
        }
        if passed.poll {
            self.poll_at = now + self.interval;
        }
        if self.repoll >= self.interval {
            self.repoll_at = self.poll_at; // as rare as the poll, it is the poll
        }
        passed
    }

    /// Is true when the others must be asked to re-poll, because we cannot; takes it as done.
    pub(super) fn ask_others(&mut self) -> bool {
        !std::mem::replace(&mut self.asked, true)
    }

    /// Gives the instant of the next poll.
    #[cfg(test)]
    pub(super) fn poll_at(&self) -> Instant {
        self.poll_at
    }

    /// Gives the instant of the next poll or re-poll.
    pub(super) fn next(&self) -> Instant {
        self.poll_at.min(self.repoll_at)
    }
}
