//! The warehouse's capacity: so many shipments a second, and an appointment for whoever comes in vain.
//!
//! The invariant: who comes back after the wait he was told is let in. Without it, a crowd that is sent away together
//! comes back together, and some of it would run out of retries by bad luck.

use std::collections::HashMap;

/// Shipments that the warehouse takes in a second.
pub(crate) const CAPACITY: usize = 120;

/// Who comes when. Time is counted in whole seconds.
#[derive(Debug, Default)]
pub(crate) struct Dock {
    taken: HashMap<u64, usize>,
    appointments: HashMap<i64, u64>,
}

impl Dock {
    /// Lets a job in, or tells it how many seconds to wait.
    pub(crate) fn admit(&mut self, job_id: i64, now: u64) -> Result<(), u64> {
        if let Some(&second) = self.appointments.get(&job_id) {
            return if second <= now {
                Ok(())
            } else {
                Err(second - now)
            };
        }
        let second = (now..)
            .find(|second| self.taken.get(second).is_none_or(|taken| *taken < CAPACITY))
            .unwrap_or(now);
        *self.taken.entry(second).or_default() += 1;
        if second == now {
            return Ok(());
        }
        self.appointments.insert(job_id, second);
        Err(second - now)
    }
}
