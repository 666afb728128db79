//! Deletes completed and cancelled jobs past their retention, oldest first. Dead jobs stay until somebody purges them.
//!
//! Each batch is a statement and transaction of its own, with `SKIP LOCKED`: it holds nobody up, may be stopped between
//! two batches, and two workers that prune at once delete different rows.

use std::time::{Duration, Instant};

use crate::error::Error;
use crate::model::Span;
use crate::source::Link;
use crate::sql::{PruneCancelled, PruneCompleted};
use crate::worker::WorkerHandle;

/// Time from one pass to the next.
pub(super) const INTERVAL: Duration = Duration::from_secs(30);
/// Rows a statement: a few milliseconds, so that claims do not notice.
const BATCH: i64 = 1000;
/// Pause after a full batch: leaves most of the disk to the jobs.
const PAUSE: Duration = Duration::from_millis(50);

/// Settings.
pub(super) struct Prune {
    pub(super) completed: Duration,
    pub(super) cancelled: Duration,
}

/// What a pass did.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Pruned {
    pub(super) completed: usize,
    pub(super) cancelled: usize,
    /// Time was up before the end.
    pub(super) more: bool,
}

impl Prune {
    /// Deletes what is past its retention, for so long at most: the other duties must have their turn.
    pub(super) async fn run_once(
        &self,
        link: &mut Link,
        shutdown: &WorkerHandle,
        at_most: Duration,
    ) -> Result<Pruned, Error> {
        let mut pruned = Pruned::default();
        let until = Instant::now() + at_most;
        while shutdown.is_running() {
            let statement = PruneCompleted {
                retention: Span(self.completed),
                limit: BATCH,
            };
            let completed = link.load::<_, i64>(statement).await?.len();
            let statement = PruneCancelled {
                retention: Span(self.cancelled),
                limit: BATCH,
            };
            let cancelled = link.load::<_, i64>(statement).await?.len();
            pruned.completed += completed;
            pruned.cancelled += cancelled;
            pruned.more = i64::try_from(completed.max(cancelled)).unwrap_or(0) >= BATCH;
            if !pruned.more || Instant::now() >= until {
                break;
            }
            tokio::time::sleep(PAUSE).await;
        }
        Ok(pruned)
    }
}
