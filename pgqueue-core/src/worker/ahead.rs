//! How many jobs a worker claims ahead of its free slots: what it ends within the prefetch time. Policy only: no database.
//!
//! Without it a worker of ten slots claims ten jobs a round trip, however short they are. Ahead of them it claims what it
//! has just proven to get through in [the prefetch time](super::WorkerBuilder::prefetch), 50 ms by default: thousands of jobs
//! that take microseconds, none that take seconds. An idle worker has proven nothing, so it claims what it can start.

use std::time::{Duration, Instant};

/// Most bytes of payloads that a lane holds ahead, by what the newest ones had.
const BYTES: usize = 16 << 20;
/// The rate is measured over at least so long: shorter, it is chance.
const LEAST_MEASURED: Duration = Duration::from_millis(1);

/// What one lane has proven.
#[derive(Debug)]
pub(super) struct Ahead {
    /// Runs that end a second.
    rate: f64,
    /// Runs that had ended at `measured_at`.
    ended: u64,
    measured_at: Instant,
    /// Bytes of a payload, the newest counting most.
    bytes: usize,
}

impl Ahead {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            rate: 0.0,
            ended: 0,
            measured_at: now,
            bytes: 0,
        }
    }

    /// Notes how many runs of the lane have ended by now, in all. A faster pace counts at once, a slower one in time.
    #[expect(clippy::cast_precision_loss, reason = "it is a count of milliseconds")]
    pub(super) fn measure(&mut self, now: Instant, ended: u64, prefetch: Duration) {
        let elapsed = now.duration_since(self.measured_at);
        if elapsed < LEAST_MEASURED {
            return;
        }
        let rate = ended.wrapping_sub(self.ended) as f64 / elapsed.as_secs_f64();
        let weight = elapsed.as_secs_f64() / prefetch.as_secs_f64().max(0.001);
        self.rate += (rate - self.rate)
            * if rate > self.rate {
                1.0
            } else {
                weight.min(1.0)
            };
        (self.ended, self.measured_at) = (ended, now);
    }

    /// Notes how long a payload is.
    pub(super) fn note_bytes(&mut self, bytes: usize) {
        self.bytes = (3 * self.bytes + bytes).div_ceil(4);
    }

    /// Jobs had to be given back unstarted: what was proven holds no more.
    pub(super) fn forget(&mut self) {
        self.rate = 0.0;
    }

    /// Gives how many jobs may be held ahead, `most` at most.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a rate is not negative, and the cast saturates"
    )]
    pub(super) fn limit(&self, prefetch: Duration, most: usize) -> usize {
        let jobs = (self.rate * prefetch.as_secs_f64()) as usize;
        jobs.min(most).min(BYTES / self.bytes.max(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PREFETCH: Duration = Duration::from_millis(50);

    fn after(start: Instant, ms: u64) -> Instant {
        start + Duration::from_millis(ms)
    }

    #[test]
    fn an_idle_worker_claims_nothing_ahead() {
        let start = Instant::now();
        let mut ahead = Ahead::new(start);
        ahead.measure(after(start, 5000), 0, PREFETCH);
        assert_eq!(ahead.limit(PREFETCH, 1000), 0);
    }

    #[test]
    fn quick_jobs_are_claimed_ahead_and_slow_ones_are_not() {
        let start = Instant::now();
        let mut ahead = Ahead::new(start);
        ahead.measure(after(start, 2), 10, PREFETCH);
        assert_eq!(ahead.limit(PREFETCH, 1000), 250);
        ahead.measure(after(start, 12), 260, PREFETCH);
        assert_eq!(ahead.limit(PREFETCH, 1000), 1000);

        let mut slow = Ahead::new(start);
        slow.measure(after(start, 1000), 10, PREFETCH);
        assert_eq!(slow.limit(PREFETCH, 1000), 0);
    }

    #[test]
    fn a_pace_that_breaks_is_forgotten_within_the_prefetch_time() {
        let start = Instant::now();
        let mut ahead = Ahead::new(start);
        ahead.measure(after(start, 10), 400, PREFETCH);
        assert_eq!(ahead.limit(PREFETCH, 10_000), 2000);
        ahead.measure(after(start, 35), 400, PREFETCH);
        assert_eq!(ahead.limit(PREFETCH, 10_000), 1000);
        ahead.measure(after(start, 85), 400, PREFETCH);
        assert_eq!(ahead.limit(PREFETCH, 10_000), 0);
    }

    #[test]
    fn large_payloads_bound_it_by_their_bytes() {
        let start = Instant::now();
        let mut ahead = Ahead::new(start);
        ahead.measure(after(start, 10), 10_000, PREFETCH);
        for _ in 0..60 {
            ahead.note_bytes(1 << 20);
        }
        assert_eq!(ahead.limit(PREFETCH, 1000), 16);
        assert_eq!(
            ahead.limit(Duration::ZERO, 1000),
            0,
            "switched off, it claims nothing ahead"
        );
    }
}
