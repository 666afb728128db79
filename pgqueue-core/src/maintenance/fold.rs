//! Folds statistics of minutes to hours after two days, and deletes hours past their retention.
//!
//! Safe when several workers do it at once: each minute's row is deleted, and so counted, by one of them.

use std::time::Duration;

use crate::error::Error;
use crate::model::Span;
use crate::source::Link;
use crate::sql::{FoldStats, PruneStats};

/// Time from one pass to the next.
pub(super) const INTERVAL: Duration = Duration::from_secs(10 * 60);

/// Settings.
pub(super) struct Fold {
    pub(super) retention: Duration,
}

/// What a pass did.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Folded {
    pub(super) hours: usize,
    pub(super) deleted: usize,
}

impl Fold {
    /// Folds and deletes what is old enough.
    pub(super) async fn run_once(&self, link: &mut Link) -> Result<Folded, Error> {
        let hours = link.load::<_, i64>(FoldStats {}).await?.len();
        let deleted = link
            .load::<_, i64>(PruneStats {
                retention: Span(self.retention),
            })
            .await?
            .len();
        Ok(Folded { hours, deleted })
    }
}
