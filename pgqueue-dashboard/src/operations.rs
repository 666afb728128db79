//! What pages, API and metrics read of workers and PostgreSQL, each once for all visitors.

use std::sync::Arc;
use std::time::Duration;

use chrono::{TimeDelta, Utc};
use futures_util::FutureExt as _;
use pgqueue_core::health::{self, Report};
use pgqueue_core::stats::{self, KindStats};
use pgqueue_core::workers::{self, WorkerStats};

use crate::database::Database;
use crate::problem::Problem;
use crate::shared::Shared;

/// The shared answers.
#[derive(Debug)]
pub(crate) struct Operations {
    workers: Shared<Vec<WorkerStats>>,
    report: Shared<Report>,
    kinds: Shared<Vec<KindStats>>,
    ready: Shared<bool>,
}

impl Operations {
    pub(crate) fn new() -> Self {
        Self {
            workers: Shared::new(Duration::from_millis(900)),
            report: Shared::new(Duration::from_secs(10)),
            kinds: Shared::new(Duration::from_secs(5)),
            ready: Shared::new(Duration::from_secs(1)),
        }
    }

    /// Gives the registered workers.
    pub(crate) async fn workers(
        &self,
        database: &Database,
    ) -> Result<Arc<Vec<WorkerStats>>, Problem> {
        self.workers
            .get(|| database.read(|conn| workers::list_async(conn).boxed()))
            .await
    }

    /// Tells whether the database answers and has our tables; that it does not is remembered, too.
    pub(crate) async fn ready(&self, database: &Database) -> bool {
        let read = async || {
            let ready = database.read(|conn| health::ready_async(conn).boxed());
            Ok(ready.await.is_ok())
        };
        self.ready.get(read).await.is_ok_and(|ready| *ready)
    }

    /// Gives the report on PostgreSQL.
    pub(crate) async fn report(&self, database: &Database) -> Result<Arc<Report>, Problem> {
        self.report
            .get(|| database.read(|conn| health::report_async(conn).boxed()))
            .await
    }

    /// Gives what each kind did in the last hour.
    pub(crate) async fn kinds(&self, database: &Database) -> Result<Arc<Vec<KindStats>>, Problem> {
        let to = Utc::now();
        let from = to - TimeDelta::hours(1);
        self.kinds
            .get(|| database.read(move |conn| stats::kinds_async(conn, from, to).boxed()))
            .await
    }
}
