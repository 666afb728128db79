//! Answers that all visitors share: read once, good for a while. Whoever comes while one is read waits for that one.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Mutex;

use crate::problem::Problem;

/// The newest answer of one kind.
#[derive(Debug)]
pub(crate) struct Shared<T> {
    fresh: Duration,
    latest: Mutex<Option<(Instant, Arc<T>)>>,
}

impl<T> Shared<T> {
    /// Starts without an answer; each is good for so long.
    pub(crate) fn new(fresh: Duration) -> Self {
        Self {
            fresh,
            latest: Mutex::new(None),
        }
    }

    /// Gives the newest answer, or reads one if that is too old.
    pub(crate) async fn get<F>(&self, read: impl FnOnce() -> F) -> Result<Arc<T>, Problem>
    where
        F: Future<Output = Result<T, Problem>>,
    {
        let mut latest = self.latest.lock().await;
        if let Some((at, answer)) = latest.as_ref()
            && at.elapsed() < self.fresh
        {
            return Ok(Arc::clone(answer));
        }
        let answer = Arc::new(read().await?);
        *latest = Some((Instant::now(), Arc::clone(&answer)));
        Ok(answer)
    }

    /// Has whoever comes next read anew.
    pub(crate) async fn forget(&self) {
        *self.latest.lock().await = None;
    }

    /// Gives the newest answer without reading anything; none if it is older, or being read.
    pub(crate) fn peek(&self, at_most: Duration) -> Option<Arc<T>> {
        let latest = self.latest.try_lock().ok()?;
        let (at, answer) = latest.as_ref()?;
        (at.elapsed() < at_most).then(|| Arc::clone(answer))
    }
}
