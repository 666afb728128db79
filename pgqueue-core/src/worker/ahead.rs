//! How many jobs of a lane are claimed ahead of its free slots: what it ends within the prefetch time. Policy only: no
//! database.
//!
//! Without it a worker of ten slots claims ten jobs a round trip, however short they are. Ahead of them it claims what it
//! has just proven to get through in [the prefetch time](super::WorkerBuilder::prefetch), 50 ms by default: thousands of jobs
//! that take microseconds, none that take seconds. An idle worker has proven nothing, so it claims what it can start. The
//! proof is the number of runs that ended. That alone deceives: ten jobs of 20 ms that end in the same millisecond look like
//! ten thousand a second. So what is ahead is bounded, too, by how long the runs took, and runs longer than the prefetch time
//! are never claimed ahead.

use std::time::{Duration, Instant};

use super::slots::Done;

/// Most bytes of payloads that all lanes hold ahead: by what the newest ones had, before they are claimed, and by what the
/// database has stored, as they are claimed.
const BYTES: i64 = 16 << 20;
/// The pace is measured over at least so long: shorter, it is chance.
const LEAST_MEASURED: Duration = Duration::from_millis(1);
/// A pace is forgotten within so many prefetch times: a worker that waits for the database has not become slower.
const MEMORY: f64 = 10.0;
/// What is ahead takes at most so many prefetch times, by how long runs took: still less than what waits is given.
const SLACK: f64 = 4.0;
/// After jobs were given back because they could not begin, nothing is claimed ahead for so long.
const HOLD_OFF: Duration = Duration::from_secs(1);

/// Gives how many bytes of payloads each of so many lanes may claim ahead at once.
pub(super) fn bytes_of_each(lanes: usize) -> i64 {
    BYTES / i64::try_from(lanes).unwrap_or(i64::MAX).max(1)
}

/// What one lane has proven.
#[derive(Debug)]
pub(super) struct Ahead {
    /// Runs that end a second.
    rate: f64,
    /// Seconds that a run takes.
    run_time: f64,
    done: Done,
    measured_at: Instant,
    /// Bytes of a payload, the newest counting most.
    payload: usize,
    /// How many bytes it may hold.
    bytes: usize,
    slots: f64,
    held_off_until: Option<Instant>,
    /// One of several lanes that ran dry. It shares the free slots with the others, and a claim that has none for it cannot
    /// tell a lane that is empty from one whose first job has no retry left: it would be looked at twice.
    dry: bool,
    lanes: usize,
    /// The last claim met a job without a retry left. Such jobs are claimed only into free slots: if the process died while
    /// they waited, they would be dead without having run.
    last_chance: bool,
}

impl Ahead {
    /// For a lane of so many slots, one of so many lanes.
    pub(super) fn new(now: Instant, slots: usize, lanes: usize) -> Self {
        Self {
            rate: 0.0,
            run_time: 0.0,
            done: Done::default(),
            measured_at: now,
            payload: 0,
            bytes: usize::try_from(bytes_of_each(lanes)).unwrap_or(0),
            slots: f64::from(u32::try_from(slots).unwrap_or(u32::MAX)),
            held_off_until: None,
            dry: false,
            lanes,
            last_chance: false,
        }
    }

    /// Notes what the lane has done by now, in all. A faster pace counts at once, a slower one in time.
    pub(super) fn measure(&mut self, now: Instant, done: Done, prefetch: Duration) {
        let elapsed = now.duration_since(self.measured_at).as_secs_f64();
        if elapsed < LEAST_MEASURED.as_secs_f64() {
            return;
        }
        let runs = f64::from(done.runs.wrapping_sub(self.done.runs));
        let rate = runs / elapsed;
        let decay = (elapsed / (MEMORY * prefetch.as_secs_f64().max(0.001))).min(1.0);
        self.rate += (rate - self.rate) * if rate > self.rate { 1.0 } else { decay };
        if runs > 0.0 {
            let run_time = done.time.saturating_sub(self.done.time).as_secs_f64() / runs;
            // A few runs in a row that were held up by chance are no new pace.
            let weight = if self.run_time > 0.0 {
                (runs / (2.0 * self.slots)).min(1.0)
            } else {
                1.0
            };
            self.run_time += (run_time - self.run_time) * weight;
        }
        (self.done, self.measured_at) = (done, now);
    }

    /// Notes how long a payload is.
    pub(super) fn note_bytes(&mut self, bytes: usize) {
        self.payload = (3 * self.payload + bytes).div_ceil(4);
    }

    /// Notes of the last claim whether it left nothing, and whether it met a job without a retry left.
    pub(super) fn note_claim(&mut self, dry: bool, last_chance: bool) {
        self.dry = dry && self.lanes > 1;
        self.last_chance = last_chance;
    }

    /// Jobs had to be given back unstarted: what was proven holds no more.
    pub(super) fn hold_off(&mut self, now: Instant) {
        self.rate = 0.0;
        self.held_off_until = Some(now + HOLD_OFF);
    }

    /// Gives how many jobs may be held ahead, `most` at most.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "nothing here is negative, and the cast saturates"
    )]
    pub(super) fn limit(&self, now: Instant, prefetch: Duration, most: usize) -> usize {
        // Longer runs could all have begun just now, and what waits for them would have to be given back.
        let slow = self.run_time > prefetch.as_secs_f64();
        let held_off = self.held_off_until.is_some_and(|until| now < until);
        if slow || held_off || self.dry || self.last_chance {
            return 0;
        }
        let by_rate = self.rate * prefetch.as_secs_f64();
        let by_run_time = SLACK * self.slots * prefetch.as_secs_f64() / self.run_time.max(1e-6);
        let jobs = by_rate.min(by_run_time) as usize;
        jobs.min(most).min(self.bytes / self.payload.max(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PREFETCH: Duration = Duration::from_millis(50);

    fn after(start: Instant, ms: u64) -> Instant {
        start + Duration::from_millis(ms)
    }

    /// So many runs, each of so many microseconds.
    fn done(runs: u32, us: u64) -> Done {
        Done {
            runs,
            time: Duration::from_micros(us) * runs,
        }
    }

    /// A lane of ten slots, the only one.
    fn ahead(start: Instant) -> Ahead {
        Ahead::new(start, 10, 1)
    }

    #[test]
    fn an_idle_worker_claims_nothing_ahead() {
        let start = Instant::now();
        let mut ahead = ahead(start);
        ahead.measure(after(start, 5000), done(0, 0), PREFETCH);
        assert_eq!(ahead.limit(after(start, 5000), PREFETCH, 1000), 0);
    }

    #[test]
    fn quick_jobs_are_claimed_ahead_and_slow_ones_are_not() {
        let start = Instant::now();
        let mut quick = ahead(start);
        quick.measure(after(start, 2), done(10, 100), PREFETCH);
        assert_eq!(quick.limit(after(start, 2), PREFETCH, 1000), 250);
        quick.measure(after(start, 12), done(260, 100), PREFETCH);
        assert_eq!(quick.limit(after(start, 12), PREFETCH, 1000), 1000);

        let mut slow = ahead(start);
        slow.measure(after(start, 1000), done(10, 1_000_000), PREFETCH);
        assert_eq!(slow.limit(after(start, 1000), PREFETCH, 1000), 0);
    }

    #[test]
    fn runs_that_end_together_are_no_fast_pace() {
        let start = Instant::now();
        for (us, most) in [(1_000_000, 0), (20_000, 100)] {
            let mut ahead = ahead(start);
            ahead.measure(after(start, 1000), done(0, 0), PREFETCH);
            ahead.measure(after(start, 1001), done(10, us), PREFETCH);
            assert_eq!(ahead.limit(after(start, 1001), PREFETCH, 1000), most);
        }
    }

    #[test]
    fn a_pace_that_breaks_is_forgotten_within_ten_prefetch_times() {
        let start = Instant::now();
        let mut ahead = ahead(start);
        ahead.measure(after(start, 10), done(400, 10), PREFETCH);
        assert_eq!(ahead.limit(after(start, 10), PREFETCH, 10_000), 2000);
        ahead.measure(after(start, 260), done(400, 10), PREFETCH);
        assert_eq!(ahead.limit(after(start, 260), PREFETCH, 10_000), 1000);
        ahead.measure(after(start, 760), done(400, 10), PREFETCH);
        assert_eq!(ahead.limit(after(start, 760), PREFETCH, 10_000), 0);
    }

    #[test]
    fn runs_that_become_slow_count_at_once() {
        let start = Instant::now();
        let mut ahead = ahead(start);
        ahead.measure(after(start, 10), done(400, 10), PREFETCH);
        let mut then = done(400, 10);
        then.runs += 20;
        then.time += 20 * Duration::from_millis(60);
        ahead.measure(after(start, 11), then, PREFETCH);
        assert_eq!(ahead.limit(after(start, 11), PREFETCH, 1000), 0);
    }

    #[test]
    fn large_payloads_bound_it_by_their_bytes_which_all_lanes_share() {
        let start = Instant::now();
        for (lanes, most) in [(1, 16), (8, 2), (64, 0)] {
            let mut ahead = Ahead::new(start, 10, lanes);
            ahead.measure(after(start, 10), done(10_000, 1), PREFETCH);
            for _ in 0..60 {
                ahead.note_bytes(1 << 20);
            }
            assert_eq!(ahead.limit(after(start, 10), PREFETCH, 1000), most);
            assert_eq!(
                ahead.limit(after(start, 10), Duration::ZERO, 1000),
                0,
                "switched off, it claims nothing ahead"
            );
        }
    }

    #[test]
    fn after_jobs_were_given_back_nothing_is_claimed_ahead_for_a_second() {
        let start = Instant::now();
        let mut ahead = ahead(start);
        ahead.hold_off(start);
        ahead.measure(after(start, 10), done(1000, 10), PREFETCH);
        assert_eq!(ahead.limit(after(start, 999), PREFETCH, 1000), 0);
        assert_eq!(ahead.limit(after(start, 1000), PREFETCH, 1000), 1000);
    }

    #[test]
    fn while_jobs_without_a_retry_left_are_met_nothing_is_claimed_ahead() {
        let start = Instant::now();
        let mut ahead = ahead(start);
        ahead.measure(after(start, 10), done(1000, 10), PREFETCH);
        ahead.note_claim(false, true);
        assert_eq!(ahead.limit(after(start, 10), PREFETCH, 1000), 0);
        ahead.note_claim(false, false);
        assert_eq!(ahead.limit(after(start, 10), PREFETCH, 1000), 1000);
    }

    #[test]
    fn one_of_several_lanes_claims_nothing_ahead_while_it_is_dry() {
        let start = Instant::now();
        for (lanes, most) in [(1, 1000), (2, 0)] {
            let mut ahead = Ahead::new(start, 10, lanes);
            ahead.measure(after(start, 10), done(1000, 10), PREFETCH);
            ahead.note_claim(true, false);
            assert_eq!(ahead.limit(after(start, 10), PREFETCH, 1000), most);
            ahead.note_claim(false, false);
            assert_eq!(ahead.limit(after(start, 10), PREFETCH, 1000), 1000);
        }
    }
}
