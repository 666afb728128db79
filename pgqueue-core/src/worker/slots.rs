//! How many jobs may run: in all, and of each queue, and of those that have lost a process. A slot is held from the claim
//! until the run's end is stored, and until the thread of its handler is free.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// Free places of the worker and of each of its queues.
#[derive(Debug)]
pub(super) struct Slots {
    free: Mutex<Free>,
    freed: Notify,
}

#[derive(Debug)]
struct Free {
    total: usize,
    queues: Vec<usize>,
    /// Taken by jobs that have lost a process.
    suspects: usize,
}

/// A taken place; dropping it gives it back.
#[derive(Debug)]
pub(super) struct Slot {
    slots: Arc<Slots>,
    queue: usize,
    suspect: bool,
}

impl Slots {
    pub(super) fn new(total: usize, queues: Vec<usize>) -> Arc<Self> {
        Arc::new(Self {
            free: Mutex::new(Free {
                total,
                queues,
                suspects: 0,
            }),
            freed: Notify::new(),
        })
    }

    /// Gives the free places in all and of each queue, which is never more than in all.
    pub(super) fn free(&self) -> (usize, Vec<usize>) {
        let free = self.lock();
        (
            free.total,
            free.queues
                .iter()
                .map(|&queue| queue.min(free.total))
                .collect(),
        )
    }

    /// Takes a place of a queue. Only the fetch loop takes, after it looked: a missing place is a bug there, not a wait.
    pub(super) fn take(self: &Arc<Self>, queue: usize) -> Slot {
        let mut free = self.lock();
        free.total = free.total.saturating_sub(1);
        free.queues[queue] = free.queues[queue].saturating_sub(1);
        Slot {
            slots: Arc::clone(self),
            queue,
            suspect: false,
        }
    }

    /// Is true while a job that has lost a process has a place: then no other such job may start.
    pub(super) fn has_suspect(&self) -> bool {
        self.lock().suspects > 0
    }

    /// Resolves when a place was given back since the last call resolved.
    pub(super) async fn freed(&self) {
        self.freed.notified().await;
    }

    fn lock(&self) -> MutexGuard<'_, Free> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Slot {
    /// Marks the place as that of a job that has lost a process.
    pub(super) fn of_suspect(mut self) -> Self {
        self.suspect = true;
        self.slots.lock().suspects += 1;
        self
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut free = self.slots.lock();
        free.total += 1;
        free.queues[self.queue] += 1;
        free.suspects -= usize::from(self.suspect);
        drop(free);
        self.slots.freed.notify_one();
    }
}
