//! Ends of runs that wait to be stored: received, held back while their rows are locked, and cut into batches.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;

use super::slots::Unstored;
use crate::context::Run;
use crate::outcome::Ending;

/// Most bytes of outputs and errors in one statement, unless a single row has more. PostgreSQL closes the connection on a
/// message of 1 GiB, which looks like an outage: a batch that large would be sent for ever.
const BATCH_BYTES: usize = 16 << 20;

/// The end of one run, on its way to the database.
pub(super) struct Finish {
    pub(super) run: Arc<Run>,
    pub(super) ending: Ending,
    pub(super) run_time: Duration,
    /// Counted as not stored until this is dropped.
    pub(super) unstored: Option<Unstored>,
    /// About how many bytes of what it carries are sent.
    bytes: usize,
    pub(super) not_before: Option<Instant>,
    /// How often the database has refused it alone.
    pub(super) refusals: u32,
}

impl Finish {
    pub(super) fn new(run: Arc<Run>, ending: Ending, unstored: Option<Unstored>) -> Self {
        let run_time = run.started.elapsed();
        Self {
            bytes: bytes(&ending),
            run,
            ending,
            run_time,
            unstored,
            not_before: None,
            refusals: 0,
        }
    }

    pub(super) fn id(&self) -> i64 {
        self.run.id
    }

    /// Names the run: its job and its fencing token.
    pub(super) fn key(&self) -> (i64, i64) {
        (self.run.id, self.run.fencing_token)
    }

    /// Drops what the database may have refused to store.
    pub(super) fn simplify(&mut self) {
        match &mut self.ending {
            Ending::Completed(output) => *output = None,
            Ending::Failed(failure) | Ending::Dead(failure) => {
                failure.message = "the error text could not be stored".to_owned();
            }
            _ => {}
        }
    }
}

/// Adds what has ended to `open`, waiting only if there is nothing to do before; false: nothing more will come.
pub(super) async fn receive(
    finished: &mut mpsc::UnboundedReceiver<Finish>,
    open: &mut Vec<Finish>,
    batch: usize,
) -> bool {
    let next_try = open.iter().map(|finish| finish.not_before).min();
    match next_try {
        None => finished.recv_many(open, batch).await > 0,
        Some(None) => {
            while open.len() < batch
                && let Ok(finish) = finished.try_recv()
            {
                open.push(finish);
            }
            true
        }
        Some(Some(at)) => {
            let mut new = Vec::new();
            tokio::select! {
                _ = finished.recv_many(&mut new, batch) => {}
                () = tokio::time::sleep_until(at) => {}
            }
            if new.is_empty() {
                tokio::time::sleep_until(at).await; // nothing new came, or nothing will
            }
            open.extend(new);
            true
        }
    }
}

/// Takes what may be tried now out of `open`, as much as one batch may hold.
pub(super) fn take_batch(open: &mut Vec<Finish>, most: usize) -> Vec<Finish> {
    let now = Instant::now();
    let (mut ready, later): (Vec<_>, Vec<_>) = open
        .drain(..)
        .partition(|finish| finish.not_before.is_none_or(|at| at <= now));
    let rest = ready.split_off(batch_length(ready.iter().map(|finish| finish.bytes), most));
    *open = later;
    open.extend(rest);
    ready
}

/// Tells how many of the rows, given by their bytes, go into one statement.
fn batch_length(rows: impl Iterator<Item = usize>, most: usize) -> usize {
    let mut sum = 0_usize;
    let fits = |bytes: &usize| {
        let first = sum == 0;
        sum = sum.saturating_add(bytes.saturating_add(1));
        first || sum <= BATCH_BYTES
    };
    rows.take(most).take_while(fits).count()
}

fn bytes(ending: &Ending) -> usize {
    match ending {
        Ending::Completed(Some(output)) => output.to_string().len(),
        Ending::Failed(failure) | Ending::Dead(failure) => failure.message.len(),
        Ending::RetryAfter(_, text) | Ending::Cancelled(text) => text.len(),
        Ending::Completed(None) | Ending::Snoozed(_) | Ending::Released => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_cut_by_its_bytes_but_never_to_nothing() {
        let length = |rows: &[usize], most| batch_length(rows.iter().copied(), most);
        assert_eq!(length(&[0; 5000], 1000), 1000);
        assert_eq!(length(&[1 << 20; 40], 1000), 15);
        assert_eq!(length(&[1 << 30, 0, 0], 1000), 1);
        assert_eq!(length(&[0, 1 << 30, 0], 1000), 1);
        assert_eq!(length(&[], 1000), 0);
    }
}
