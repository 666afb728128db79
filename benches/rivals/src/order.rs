//! The job that every system runs, and what its handler notes: that it began, and when.
//!
//! A process measures one system once, so what is noted is the process's. All handlers do the same: they note the number
//! of the order and are done.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

/// Added to the numbers, so that all have the same length.
const FIRST: usize = 1_000_000;

/// What a job carries: 45 bytes of JSON.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Order {
    order_id: usize,
    note: String,
}

impl Order {
    /// Gives the order of a number, from 0 to 8,999,999.
    pub(crate) fn numbered(number: usize) -> Self {
        Self {
            order_id: FIRST + number,
            note: "a small payload".to_owned(),
        }
    }

    /// Gives the orders of all numbers below.
    pub(crate) fn below(end: usize) -> Vec<Self> {
        (0..end).map(Self::numbered).collect()
    }

    /// Notes that the handler of this order has begun.
    pub(crate) fn begin(&self) {
        let Some(begun) = BEGUN.get() else { return };
        let now = begun.origin.elapsed().as_nanos();
        let now = u64::try_from(now).unwrap_or(u64::MAX);
        RUNS.fetch_add(1, Ordering::Relaxed);
        let first = begun.times[self.order_id - FIRST].compare_exchange(
            0,
            now,
            Ordering::Relaxed,
            Ordering::Relaxed,
        );
        if first.is_ok() {
            ORDERS.fetch_add(1, Ordering::Release);
        }
    }
}

static BEGUN: OnceLock<Begun> = OnceLock::new();
static ORDERS: AtomicUsize = AtomicUsize::new(0);
static RUNS: AtomicUsize = AtomicUsize::new(0);

/// When the handler of each order began.
#[derive(Debug)]
pub(crate) struct Begun {
    origin: Instant,
    /// Nanoseconds after the origin, by number; 0 while it has not begun.
    times: Vec<AtomicU64>,
}

impl Begun {
    /// Makes room for the orders of all numbers below.
    pub(crate) fn expect(end: usize) -> &'static Self {
        BEGUN.get_or_init(|| Self {
            origin: Instant::now(),
            times: (0..end).map(|_| AtomicU64::new(0)).collect(),
        })
    }

    /// Counts the orders that have begun, each once.
    pub(crate) fn count(&self) -> usize {
        ORDERS.load(Ordering::Acquire)
    }

    /// Counts how often a handler began an order that had begun before.
    pub(crate) fn repeated(&self) -> usize {
        RUNS.load(Ordering::Relaxed) - self.count()
    }

    /// Gives how long after an instant the first order began.
    pub(crate) fn first(&self, instant: Instant) -> Duration {
        self.all()
            .min()
            .map_or(Duration::ZERO, |time| self.since(instant, time))
    }

    /// Gives how long after an instant the last order began.
    pub(crate) fn last(&self, instant: Instant) -> Duration {
        self.all()
            .max()
            .map_or(Duration::ZERO, |time| self.since(instant, time))
    }

    fn all(&self) -> impl Iterator<Item = u64> {
        let times = self.times.iter().map(|time| time.load(Ordering::Relaxed));
        times.filter(|time| *time > 0)
    }

    fn since(&self, instant: Instant, time: u64) -> Duration {
        (self.origin + Duration::from_nanos(time)).saturating_duration_since(instant)
    }

    /// Gives how long after an instant an order began; of one that has not begun, how long that has been going on.
    pub(crate) fn after(&self, instant: Instant, number: usize) -> Duration {
        match self.times[number].load(Ordering::Relaxed) {
            0 => instant.elapsed(),
            time => self.since(instant, time),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Order;

    #[test]
    fn every_order_has_45_bytes() {
        let lengths = [0, 8_999_999]
            .map(|number| serde_json::to_string(&Order::numbered(number)).map(|json| json.len()));

        assert!(
            lengths.iter().all(|length| matches!(length, Ok(45))),
            "{lengths:?}"
        );
    }
}
