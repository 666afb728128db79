//! What many visitors look at, read once: whoever comes while it is being read waits for the same answer.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::problem::Problem;

/// Most answers kept: names in keys come from visitors.
const MOST: usize = 64;

type Slot<V> = tokio::sync::Mutex<Option<(Instant, Arc<V>)>>;

/// Answers by what was asked.
pub(crate) struct Cached<K, V>(Mutex<HashMap<K, Arc<Slot<V>>>>);

impl<K, V> Default for Cached<K, V> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Eq + Hash, V> Cached<K, V> {
    /// Gives the answer if it is younger than `fresh`, and reads it anew otherwise. A failure is not kept.
    pub(crate) async fn get(
        &self,
        key: K,
        fresh: Duration,
        read: impl Future<Output = Result<V, Problem>>,
    ) -> Result<Arc<V>, Problem> {
        let slot = self.slot(key);
        let mut latest = slot.lock().await;
        if let Some((at, answer)) = latest.as_ref()
            && at.elapsed() < fresh
        {
            return Ok(Arc::clone(answer));
        }
        let answer = Arc::new(read.await?);
        *latest = Some((Instant::now(), Arc::clone(&answer)));
        Ok(answer)
    }

    fn slot(&self, key: K) -> Arc<Slot<V>> {
        let mut slots = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if slots.len() >= MOST && !slots.contains_key(&key) {
            slots.retain(|_, slot| Arc::strong_count(slot) > 1); // those that nobody waits for
        }
        Arc::clone(slots.entry(key).or_default())
    }
}
