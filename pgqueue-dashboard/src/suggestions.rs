//! Names that a filter may ask for: read once a minute for all visitors.

use std::sync::Arc;
use std::time::Duration;

use chrono::Utc;
use futures_util::FutureExt as _;
use pgqueue_core::stats;

use crate::database::Database;
use crate::shared::Shared;

/// How long the names are good for.
const FRESH: Duration = Duration::from_secs(60);
/// Most names; a list of thousands helps nobody.
const LIMIT: usize = 200;

/// The kinds that ran within the last hour.
#[derive(Debug)]
pub(crate) struct Suggestions(Shared<Vec<String>>);

impl Suggestions {
    pub(crate) fn new() -> Self {
        Self(Shared::new(FRESH))
    }

    /// Gives the kinds; none if they cannot be read, as no page depends on them.
    pub(crate) async fn kinds(&self, database: &Database) -> Arc<Vec<String>> {
        let read = async || {
            let now = Utc::now();
            let hour = Duration::from_secs(3600);
            let ran = database.read(move |conn| stats::kinds_async(conn, now - hour, now).boxed());
            let rows = ran.await.unwrap_or_default().into_iter();
            let mut kinds: Vec<String> = rows.map(|row| row.kind).collect();
            kinds.sort_unstable();
            kinds.dedup();
            kinds.truncate(LIMIT);
            Ok(kinds)
        };
        self.0.get(read).await.unwrap_or_default()
    }
}
