//! Failures in a row of something that one of the worker's loops tries again and again. An outage of the database lasts
//! minutes, and some loops try each second: of each kind of failure the first is told, then one in half a minute, and when
//! there are none any more, how long they came.

use std::time::{Duration, Instant};

use crate::error::{Error, ErrorKind};

/// How often failures of one kind that go on are told again.
const REPEAT: Duration = Duration::from_secs(30);

/// The failures of one loop since it last did its work.
#[derive(Debug)]
pub(super) struct Failures {
    /// What does not work, as the log says it: "claim jobs".
    deed: &'static str,
    streak: Option<Streak>,
}

#[derive(Debug)]
struct Streak {
    since: Instant,
    count: i32,
    /// When each kind was last told.
    told: Vec<(ErrorKind, Instant)>,
}

impl Failures {
    pub(super) fn to(deed: &'static str) -> Self {
        Self { deed, streak: None }
    }

    /// Counts one more, logs it unless one of its kind was logged lately, and gives how many there are.
    pub(super) fn add(&mut self, error: &Error, worker_id: i64) -> i32 {
        let (count, is_news) = self.count(error.kind(), Instant::now());
        if is_news {
            tracing::warn!(%error, failures = count, worker.id = worker_id, "cannot {}; trying again", self.deed);
        }
        count
    }

    /// Forgets them, as it works again.
    pub(super) fn end(&mut self, worker_id: i64) {
        if let Some(streak) = self.streak.take() {
            tracing::info!(
                failures = streak.count,
                outage_ms = streak.since.elapsed().as_millis(),
                worker.id = worker_id,
                "no longer fails to {}",
                self.deed
            );
        }
    }

    fn count(&mut self, kind: ErrorKind, now: Instant) -> (i32, bool) {
        let streak = self.streak.get_or_insert(Streak {
            since: now,
            count: 0,
            told: Vec::new(),
        });
        streak.count = streak.count.saturating_add(1);
        let is_known =
            |(told, at): &(ErrorKind, Instant)| *told == kind && now.duration_since(*at) < REPEAT;
        let is_news = !streak.told.iter().any(is_known);
        if is_news {
            streak.told.retain(|(told, _)| *told != kind);
            streak.told.push((kind, now));
        }
        (streak.count, is_news)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_each_second_is_told_twice_a_minute_and_another_kind_at_once() {
        let start = Instant::now();
        let mut failures = Failures::to("claim jobs");
        let mut told = Vec::new();

        for second in 0..100 {
            let kind = match second {
                50 | 52 => ErrorKind::Database,
                _ => ErrorKind::Connection,
            };
            let (count, is_news) = failures.count(kind, start + Duration::from_secs(second));
            assert_eq!(i32::try_from(second), Ok(count - 1));
            told.extend(is_news.then_some(second));
        }

        assert_eq!(told, [0, 30, 50, 60, 90]);
    }

    #[test]
    fn failures_after_it_has_worked_are_news() {
        let mut failures = Failures::to("claim jobs");
        let now = Instant::now();
        failures.count(ErrorKind::Connection, now);

        failures.end(1);

        assert_eq!(failures.count(ErrorKind::Connection, now), (1, true));
    }
}
