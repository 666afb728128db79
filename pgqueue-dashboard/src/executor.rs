//! Does the steps of open operations, one after the other, in the background: those started here at once, those whose
//! process has gone within seconds. Any number of dashboards may do so at once, as each step is a transaction that locks
//! its operation. A read-only dashboard does none.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use pgqueue_core::admin;
use tokio::sync::Notify;

use crate::database::{Database, WeakDatabase};
use crate::problem::Problem;

/// How often it looks for operations of others: one look is one row of an index that is mostly empty.
const LOOK: Duration = Duration::from_secs(3);
/// Pause between two steps: leaves most of the database to the jobs.
const PAUSE: Duration = Duration::from_millis(20);

/// The task; it ends with the dashboard.
pub(crate) struct Executor {
    wake: Arc<Notify>,
}

impl fmt::Debug for Executor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Executor")
    }
}

impl Executor {
    pub(crate) fn start(database: &Database, read_only: bool) -> Self {
        let wake = Arc::new(Notify::new());
        if !read_only {
            database.spawn(drive(database.downgrade(), Arc::clone(&wake)));
        }
        Self { wake }
    }

    /// Says that there is something to do.
    pub(crate) fn wake(&self) {
        self.wake.notify_one();
    }
}

async fn drive(database: WeakDatabase, wake: Arc<Notify>) {
    loop {
        // Held for one step only: else the dashboard would never be dropped.
        let Some(database) = database.upgrade() else {
            return;
        };
        let did = step(&database).await;
        drop(database);
        match did {
            Ok(true) => tokio::time::sleep(PAUSE).await,
            Ok(false) => rest(&wake).await,
            Err(problem) => {
                // No tables yet, or no database: pages say so, the log need not each time.
                tracing::debug!(%problem, "cannot look for bulk operations");
                rest(&wake).await;
            }
        }
    }
}

async fn rest(wake: &Notify) {
    tokio::select! {
        () = wake.notified() => {}
        () = tokio::time::sleep(LOOK) => {}
    }
}

/// Does one step of one operation, if one is due.
async fn step(database: &Database) -> Result<bool, Problem> {
    let due = database.read(|conn| admin::due_async(conn).boxed()).await?;
    let Some(id) = due else { return Ok(false) };
    let done = database
        .write(move |conn| admin::advance_async(conn, id).boxed())
        .await;
    let Err(problem) = done else {
        return Ok(true);
    };
    if problem.retry_after.is_some() || problem.status == actix_web::http::StatusCode::CONFLICT {
        tracing::warn!(operation.id = id, %problem, "a step of a bulk operation failed; it is tried again");
        return Ok(false);
    }
    tracing::error!(operation.id = id, %problem, "a bulk operation failed");
    let text = problem.detail;
    database
        .write(move |conn| async move { admin::fail_async(conn, id, &text).await }.boxed())
        .await?;
    Ok(true)
}
