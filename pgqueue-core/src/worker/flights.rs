//! The runs that this process knows of: from before a claim counts as ended until the run's end is stored.
//! Reconcile releases what the database gives to this worker and this list does not have.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio_util::sync::CancellationToken;

/// Why a run was told to stop. The first reason stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum StopReason {
    Cancelled = 1,
    Deadline = 2,
    LeaseLost = 3,
    Shutdown = 4,
}

/// Tells one run to stop, and why.
#[derive(Debug, Clone, Default)]
pub(super) struct Stop {
    pub(super) token: CancellationToken,
    reason: Arc<AtomicU8>,
}

impl Stop {
    pub(super) fn fire(&self, reason: StopReason) {
        // A reason that is there already stays: the run is ended for what stopped it first.
        let _already =
            self.reason
                .compare_exchange(0, reason as u8, Ordering::SeqCst, Ordering::SeqCst);
        self.token.cancel();
    }

    pub(super) fn reason(&self) -> Option<StopReason> {
        use StopReason::{Cancelled, Deadline, LeaseLost, Shutdown};
        let value = self.reason.load(Ordering::SeqCst);
        [Cancelled, Deadline, LeaseLost, Shutdown]
            .into_iter()
            .find(|reason| *reason as u8 == value)
    }
}

/// A run by job and fencing token: a job may be claimed again while an earlier run of it has not stopped.
pub(super) type FlightId = (i64, i64);

/// All runs of this process.
#[derive(Debug, Default)]
pub(super) struct Flights(Mutex<HashMap<FlightId, Stop>>);

impl Flights {
    /// Adds a run.
    pub(super) fn add(&self, id: FlightId) -> Stop {
        let stop = Stop::default();
        self.lock().insert(id, stop.clone());
        stop
    }

    pub(super) fn remove(&self, id: FlightId) {
        self.lock().remove(&id);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.lock().len()
    }

    pub(super) fn jobs(&self) -> Vec<i64> {
        self.lock().keys().map(|&(id, _)| id).collect()
    }

    pub(super) fn stop_run(&self, id: FlightId, reason: StopReason) {
        if let Some(stop) = self.lock().get(&id) {
            stop.fire(reason);
        }
    }

    pub(super) fn stop_all(&self, reason: StopReason) {
        for stop in self.lock().values() {
            stop.fire(reason);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<FlightId, Stop>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
