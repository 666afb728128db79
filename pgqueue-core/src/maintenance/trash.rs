//! Empties the trash: jobs that an operator's operation purged or requeued are kept as they were for a day, to undo it.
//!
//! Each batch is a statement and transaction of its own, with `SKIP LOCKED`: two workers that empty it at once delete
//! different rows, and an undo that is under way keeps what it works on.

use std::time::{Duration, Instant};

use crate::admin::UNDO_LIMIT;
use crate::error::Error;
use crate::model::Span;
use crate::source::Link;
use crate::sql::operators::EmptyTrash;
use crate::worker::WorkerHandle;

/// Time from one pass to the next.
pub(super) const INTERVAL: Duration = Duration::from_secs(300);
/// Rows a statement: a few milliseconds.
const BATCH: i64 = 1000;
/// Pause after a full batch: leaves most of the disk to the jobs.
const PAUSE: Duration = Duration::from_millis(50);

/// The duty; it has no settings.
pub(super) struct Trash;

impl Trash {
    /// Deletes what is a day old, for so long at most; answers how many jobs that were.
    pub(super) async fn run_once(
        &self,
        link: &mut Link,
        shutdown: &WorkerHandle,
        at_most: Duration,
    ) -> Result<usize, Error> {
        let (mut deleted, until) = (0, Instant::now() + at_most);
        while shutdown.is_running() {
            let statement = EmptyTrash {
                retention: Span(UNDO_LIMIT),
                limit: BATCH,
            };
            let batch = link.load::<_, i64>(statement).await?.len();
            deleted += batch;
            if i64::try_from(batch).unwrap_or(0) < BATCH || Instant::now() >= until {
                break;
            }
            tokio::time::sleep(PAUSE).await;
        }
        Ok(deleted)
    }
}
