//! The shop while it runs: the database, the warehouse, the worker and the import, started and stopped in order.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use diesel::{Connection, PgConnection};
use diesel_async::AsyncPgConnection;
use diesel_async::pooled_connection::deadpool::Pool;
use pgqueue_core::WorkerHandle;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::database::Database;
use crate::folder::Folder;
use crate::import::{Import, import};
use crate::jobs::{self, Shop};
use crate::progress::Progress;
use crate::warehouse::Warehouse;

/// The shipped orders.
const ORDERS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/shop/orders.csv");

/// How long a request to the warehouse may take.
const WAREHOUSE_LIMIT: Duration = Duration::from_secs(5);

/// Everything that runs.
pub(crate) struct Running {
    pub(crate) pool: Pool<AsyncPgConnection>,
    pub(crate) folder: Arc<Folder>,
    pub(crate) warehouse: Warehouse,
    /// Ends after SIGINT or SIGTERM, or when the worker could not start.
    pub(crate) worker: JoinHandle<Result<(), pgqueue_core::Error>>,
    pub(crate) import: JoinHandle<anyhow::Result<Import>>,
    worker_handle: WorkerHandle,
    stop_import: CancellationToken,
    /// Last: dropping it takes the private server away.
    pub(crate) database: Database,
}

impl Running {
    /// Starts everything but the website.
    pub(crate) fn start() -> anyhow::Result<Self> {
        let database = Database::open()?;
        let pool = database.pool()?;
        let folder = Arc::new(Folder::create()?);
        let warehouse = Warehouse::open(&folder.warehouse_log())?;
        let shop = Shop {
            folder: Arc::clone(&folder),
            database_url: database.url.clone(),
            warehouse_url: warehouse.url.clone(),
            http: reqwest::Client::builder()
                .timeout(WAREHOUSE_LIMIT)
                .build()?,
        };
        let worker = jobs::worker(pool.clone(), shop)?;
        let stop_import = CancellationToken::new();
        Ok(Self {
            worker_handle: worker.handle(),
            worker: tokio::spawn(worker.run_until_signal()),
            import: start_import(database.url.clone(), stop_import.clone()),
            pool,
            folder,
            warehouse,
            stop_import,
            database,
        })
    }

    /// Makes the view of how the jobs go.
    pub(crate) fn progress(&self) -> Progress {
        Progress::new(self.pool.clone(), self.database.opened_at)
    }

    /// Stops what still runs: the import first, which makes jobs, and the warehouse last, which the jobs need.
    pub(crate) async fn stop(self) -> anyhow::Result<()> {
        self.stop_import.cancel();
        self.worker_handle.stop();
        // A task that has finished was awaited by whoever runs the shop.
        if !self.import.is_finished() {
            self.import.await??;
        }
        if !self.worker.is_finished() {
            self.worker.await??;
        }
        self.warehouse.close().await;
        Ok(())
    }
}

fn start_import(url: String, stop: CancellationToken) -> JoinHandle<anyhow::Result<Import>> {
    tokio::task::spawn_blocking(move || {
        let mut conn = PgConnection::establish(&url)?;
        import(&mut conn, Path::new(ORDERS), &stop).context("the import failed")
    })
}
