//! apalis-postgres. It keeps jobs that are done.

use std::any::type_name;

use apalis::prelude::{ParallelizeExt as _, TaskBuilder, WorkerBuilder, WorkerBuilderExt as _};
use apalis_postgres::{Config, PgPool, PostgresStorage, queries};
use sqlx::{Connection as _, PgConnection};
use tokio::runtime::Handle;
use tokio::task::{JoinHandle, spawn_blocking};

use crate::order::Order;
use crate::system::{Settings, System, count, one_connection, tell};

/// Jobs a fetch. The docs of `Config::batch_size` say that "larger batches can improve throughput", and name no number: of
/// 50 to 10,000 this was as fast as any above, and the less the slower.
const BATCH: usize = 5000;
/// Jobs that run at once. The README of apalis has 2 as its example; of 100 to twice the batch this was the fastest.
const CONCURRENCY: usize = 100;
/// Jobs of one insert of many.
const INSERTED: usize = 5000;

async fn work(order: Order) {
    order.begin();
}

/// apalis-postgres.
pub(crate) struct ApalisPostgres;

impl System for ApalisPostgres {
    const NAME: &'static str = "apalis-postgres";
    type Producer = PgConnection;
    type Worker = JoinHandle<()>;

    async fn migrate(url: &str) -> anyhow::Result<()> {
        Ok(PostgresStorage::setup(&one_connection(url).await?).await?)
    }

    async fn connect(url: &str, _settings: Settings) -> anyhow::Result<PgConnection> {
        Ok(PgConnection::connect(url).await?)
    }

    async fn enqueue(producer: &mut PgConnection, order: Order) -> anyhow::Result<()> {
        push(producer, &[order]).await
    }

    async fn enqueue_all(producer: &mut PgConnection, orders: Vec<Order>) -> anyhow::Result<()> {
        let mut transaction = producer.begin().await?;
        for orders in orders.chunks(INSERTED) {
            push(&mut transaction, orders).await?;
        }
        Ok(transaction.commit().await?)
    }

    async fn left(url: &str) -> anyhow::Result<i64> {
        count(
            url,
            "SELECT count(*) FROM apalis.jobs WHERE status <> 'Done'",
        )
        .await
    }

    async fn start(url: &str, settings: Settings) -> anyhow::Result<JoinHandle<()>> {
        let pool = PgPool::connect(url).await?;
        let storage = PostgresStorage::<Order>::new(&pool);
        let builder = WorkerBuilder::new("worker");
        // README, "Basic Worker Example".
        if settings == Settings::Default {
            let worker = builder.backend(storage).build(work);
            return Ok(tokio::spawn(async { tell(worker.run().await) }));
        }
        // README, "Pubsub listener example"; concurrency and `parallelize` as in the README of apalis.
        let config = Config::default()
            .queue(type_name::<Order>())
            .batch_size(BATCH);
        let worker = builder
            .backend(storage.with_config(config).with_pubsub())
            .concurrency(CONCURRENCY)
            .parallelize(tokio::spawn)
            .build(work);
        // Its future is one that the compiler cannot prove to be `Send`, so it is awaited as a `main` would.
        let runtime = Handle::current();
        Ok(spawn_blocking(move || tell(runtime.block_on(worker.run()))))
    }
}

/// Pushes on the connection that it is given: README, "Pubsub listener example". A storage pushes on a pool and in a
/// transaction of its own, which takes longer.
async fn push(conn: &mut PgConnection, orders: &[Order]) -> anyhow::Result<()> {
    let tasks: Result<Vec<_>, serde_json::Error> = orders
        .iter()
        .map(|order| Ok(TaskBuilder::new(serde_json::to_vec(order)?).build()))
        .collect();
    // The queue that a storage names by default.
    Ok(queries::push_tasks(conn, type_name::<Order>(), tasks?).await?)
}
