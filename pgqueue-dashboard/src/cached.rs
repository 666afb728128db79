//! [`Shared`] answers by what was asked.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::problem::Problem;
use crate::shared::Shared;

/// Most answers kept: names in keys come from visitors.
const MOST: usize = 64;

/// Answers by what was asked.
pub(crate) struct Cached<K, V>(Mutex<HashMap<K, Arc<Shared<V>>>>);

impl<K, V> Default for Cached<K, V> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Eq + Hash, V> Cached<K, V> {
    /// Gives the answer if it is younger than `fresh`, which goes with the key, and reads it anew otherwise. A failure is
    /// not kept.
    pub(crate) async fn get(
        &self,
        key: K,
        fresh: Duration,
        read: impl Future<Output = Result<V, Problem>>,
    ) -> Result<Arc<V>, Problem> {
        self.slot(key, fresh).get(|| read).await
    }

    /// Has whoever comes next read anew.
    pub(crate) fn forget(&self) {
        let slots = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        slots.values().for_each(|slot| slot.forget());
    }

    fn slot(&self, key: K, fresh: Duration) -> Arc<Shared<V>> {
        let mut slots = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if slots.len() >= MOST && !slots.contains_key(&key) {
            slots.retain(|_, slot| Arc::strong_count(slot) > 1); // those that nobody waits for
        }
        let slot = slots
            .entry(key)
            .or_insert_with(|| Arc::new(Shared::new(fresh)));
        Arc::clone(slot)
    }
}
