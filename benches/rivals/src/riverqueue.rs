//! riverqueue, River for Rust. It keeps jobs that are done, and has a leader delete them later.

use std::time::Duration;

use riverqueue::migrate::PostgresMigrator;
use riverqueue::sqlx::PgPool;
use riverqueue::{Client, Job, JobArgs, QueueConfig, RunHandle, WorkContext, WorkOutcome, Workers};

use crate::order::Order;
use crate::system::{Settings, System, count, one_connection};

/// Jobs that are inserted at once: `insertBatchSize` in River's `cmd/river/riverbench/river_bench.go`.
const BATCH: usize = 5000;

impl JobArgs for Order {
    const KIND: &'static str = "noop";
}

async fn work(_context: WorkContext, job: Job<Order>) -> anyhow::Result<WorkOutcome> {
    job.args.begin();
    Ok(WorkOutcome::Complete)
}

/// riverqueue.
pub(crate) struct Riverqueue;

impl System for Riverqueue {
    const NAME: &'static str = "riverqueue";
    type Producer = Client;
    type Worker = (Client, RunHandle);

    async fn migrate(url: &str) -> anyhow::Result<()> {
        PostgresMigrator::new(one_connection(url).await?)
            .migrate_up()
            .await?;
        Ok(())
    }

    async fn connect(url: &str, settings: Settings) -> anyhow::Result<Client> {
        let builder = Client::builder(one_connection(url).await?);
        Ok(builder.fetch_cooldown(cooldown(settings)).build()?)
    }

    async fn enqueue(producer: &mut Client, order: Order) -> anyhow::Result<()> {
        producer.insert(order).await?;
        Ok(())
    }

    async fn enqueue_all(producer: &mut Client, orders: Vec<Order>) -> anyhow::Result<()> {
        let mut orders = orders.into_iter().peekable();
        while orders.peek().is_some() {
            producer.insert_many(orders.by_ref().take(BATCH)).await?;
        }
        Ok(())
    }

    async fn left(url: &str) -> anyhow::Result<i64> {
        count(
            url,
            "SELECT count(*) FROM river_job WHERE state <> 'completed'",
        )
        .await
    }

    async fn start(url: &str, settings: Settings) -> anyhow::Result<(Client, RunHandle)> {
        let queue = match settings {
            // How many work has no default; the README's quick start has 10.
            Settings::Default => QueueConfig::new(10),
            // What River's own benchmark is set to, "based on my tests of throwing a lot of random values against the wall":
            // River's cmd/river/riverbench/river_bench.go, FetchPollInterval and MaxWorkers.
            _ => QueueConfig::new(2000).with_fetch_poll_interval(Duration::from_millis(20)),
        };
        let mut workers = Workers::new();
        workers.add_fn(work)?;
        let client = Client::builder(PgPool::connect(url).await?)
            .fetch_cooldown(cooldown(settings))
            .workers(workers)
            .queue("default", queue)
            .build()?;
        let running = client.start()?;
        Ok((client, running))
    }
}

/// It paces both the fetches of a worker and the notifications of whoever inserts. `FetchCooldown` as in riverbench.
fn cooldown(settings: Settings) -> Duration {
    match settings {
        Settings::Default => riverqueue::FETCH_COOLDOWN_DEFAULT,
        _ => Duration::from_millis(2),
    }
}
