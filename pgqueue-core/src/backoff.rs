//! How long a failed job waits before its next run. Policy only: no clock, no database.

use std::time::Duration;

/// Longest wait, whatever the exponent or a job's own `backoff` says.
pub(crate) const CAP: Duration = Duration::from_secs(24 * 60 * 60);

/// Gives `base · 2^(attempt − 1)`, at most [`CAP`]: 1 s, 2 s, 4 s … with the default base.
pub(crate) fn exponential(base: Duration, attempt: i32) -> Duration {
    let doublings = u32::try_from(attempt.saturating_sub(1)).unwrap_or(0);
    let factor = 2_u32.checked_pow(doublings).unwrap_or(u32::MAX);
    base.checked_mul(factor).unwrap_or(CAP).min(CAP)
}

/// Adds up to a tenth, so that jobs that failed together do not come back together.
/// `share` is a random number from 0 to 1.
pub(crate) fn with_jitter(wait: Duration, share: f64) -> Duration {
    wait.min(CAP).mul_f64(1.0 + share.clamp(0.0, 1.0) / 10.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_from_the_base() {
        let waits =
            [1, 2, 3, 4].map(|attempt| exponential(Duration::from_secs(1), attempt).as_secs());
        assert_eq!(waits, [1, 2, 4, 8]);
    }

    #[test]
    fn no_attempt_waits_longer_than_a_day_or_overflows() {
        for attempt in [i32::MIN, -1, 0, 1, 18, 64, 10_000, i32::MAX] {
            assert!(exponential(Duration::from_secs(1), attempt) <= CAP);
        }
        assert_eq!(exponential(Duration::from_secs(1), 10_000), CAP);
    }

    #[test]
    fn jitter_adds_a_tenth_at_most() {
        let second = Duration::from_secs(1);
        assert_eq!(with_jitter(second, 0.0), second);
        assert_eq!(with_jitter(second, 1.0), Duration::from_millis(1100));
    }
}
