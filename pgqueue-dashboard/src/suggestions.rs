//! Names that a filter may ask for: read once a minute for all visitors.

use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::Utc;
use futures_util::FutureExt as _;
use pgqueue_core::stats;
use tokio::sync::Mutex;

use crate::database::Database;

/// How long the names are good for.
const FRESH: Duration = Duration::from_secs(60);
/// Most names; a list of thousands helps nobody.
const LIMIT: usize = 200;

/// The kinds that ran within the last hour.
#[derive(Debug, Default)]
pub(crate) struct Suggestions(Mutex<Option<(Instant, Arc<Vec<String>>)>>);

impl Suggestions {
    /// Gives the kinds; none if they cannot be read, as no page depends on them.
    pub(crate) async fn kinds(&self, database: &Database) -> Arc<Vec<String>> {
        let mut latest = self.0.lock().await;
        if let Some((at, kinds)) = latest.as_ref()
            && at.elapsed() < FRESH
        {
            return Arc::clone(kinds);
        }
        let now = Utc::now();
        let read = database
            .read(move |conn| {
                stats::kinds_async(conn, now - Duration::from_secs(3600), now).boxed()
            })
            .await;
        let mut kinds: Vec<String> = read
            .unwrap_or_default()
            .into_iter()
            .map(|row| row.kind)
            .collect();
        kinds.sort_unstable();
        kinds.dedup();
        kinds.truncate(LIMIT);
        let kinds = Arc::new(kinds);
        *latest = Some((Instant::now(), Arc::clone(&kinds)));
        kinds
    }
}
