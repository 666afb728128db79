//! awa. It appends to tables that it empties in turns, and so forgets jobs that are done.

use std::future::ready;
use std::time::Duration;

use anyhow::Context as _;
use awa::model::insert::params;
use awa::{
    Client, InsertOpts, InsertParams, JobArgs, JobResult, QueueConfig, QueueStorage,
    QueueStorageConfig,
};
use sqlx_of_awa::PgPool;
use sqlx_of_awa::postgres::PgPoolOptions;

use crate::order::Order;
use crate::system::{Settings, System};

impl JobArgs for Order {
    fn kind() -> &'static str {
        "noop"
    }
}

/// awa.
pub(crate) struct Awa;

impl System for Awa {
    const NAME: &'static str = "awa";
    type Producer = (PgPool, QueueStorage);
    type Worker = Client;

    /// The first worker would do the second half; but jobs that are there before the first worker would stay on the tables
    /// of version 0.5.
    async fn migrate(url: &str) -> anyhow::Result<()> {
        let pool = PgPool::connect(url).await?;
        awa::migrations::run(&pool).await?;
        let store = QueueStorage::new(QueueStorageConfig::default())?;
        store.prepare_schema(&pool).await?;
        let promoted: bool =
            sqlx_of_awa::query_scalar("SELECT awa.storage_auto_finalize_if_fresh($1)")
                .bind(store.schema())
                .fetch_one(&pool)
                .await?;
        anyhow::ensure!(promoted, "awa does not work on the tables of version 0.6");
        Ok(())
    }

    async fn connect(url: &str, _settings: Settings) -> anyhow::Result<(PgPool, QueueStorage)> {
        let store = QueueStorage::new(QueueStorageConfig::default())?;
        let pool = PgPoolOptions::new()
            .max_connections(1)
            .test_before_acquire(false); // as of `one_connection`
        Ok((pool.connect(url).await?, store))
    }

    async fn enqueue((pool, _): &mut (PgPool, QueueStorage), order: Order) -> anyhow::Result<()> {
        awa::insert_with(&*pool, &order, InsertOpts::default()).await?;
        Ok(())
    }

    /// Docs of `insert_many_copy`: "for high-volume queue-storage producers, prefer `QueueStorage::enqueue_params_copy`".
    async fn enqueue_all(
        (pool, store): &mut (PgPool, QueueStorage),
        orders: Vec<Order>,
    ) -> anyhow::Result<()> {
        let jobs: Result<Vec<InsertParams>, awa::AwaError> = orders.iter().map(params).collect();
        store.enqueue_params_copy(&*pool, &jobs?).await?;
        Ok(())
    }

    /// As its own benchmark asks. The view that shows all jobs takes minutes for 50,000 that are done.
    async fn left(url: &str) -> anyhow::Result<i64> {
        let (pool, store) = Self::connect(url, Settings::Default).await?;
        let counts = store.queue_counts(&pool, "default").await?;
        Ok(counts.available + counts.running)
    }

    async fn start(url: &str, settings: Settings) -> anyhow::Result<Client> {
        let mut builder = match settings {
            // README, "Quick start".
            Settings::Default => Client::builder(PgPool::connect(url).await?)
                .queue("default", QueueConfig::default()),
            // The crate's tests/benchmark_test.rs, `test_queue_storage_runtime_offered_rate`: its pool, its workers, its
            // polls, no deadline, its rotations. No deadline is what lets it claim by "compact batches … for the zero-deadline
            // hot path", docs of `QueueStorageConfig::lease_claim_receipts`.
            _ => {
                let pool = PgPoolOptions::new()
                    .max_connections(24)
                    .connect(url)
                    .await?;
                let queue = QueueConfig {
                    max_workers: 1024,
                    poll_interval: Duration::from_millis(50),
                    deadline_duration: Duration::ZERO,
                    ..QueueConfig::default()
                };
                Client::builder(pool).queue("default", queue).queue_storage(
                    QueueStorageConfig::default(),
                    Duration::from_secs(1),
                    Duration::from_millis(50),
                )
            }
        };
        builder = builder.register::<Order, _, _>(|order, _context| {
            order.begin();
            ready(Ok(JobResult::Completed))
        });
        let client = builder.build().context("awa refuses the settings")?;
        client.start().await?;
        Ok(client)
    }
}
