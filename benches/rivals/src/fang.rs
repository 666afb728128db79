//! fang. It deletes jobs that are done, and has no NOTIFY: a worker that finds nothing sleeps.

use std::time::Duration;

use diesel::prelude::*;
use fang::asynk::async_queue::AsyncQueueable;
use fang::asynk::async_worker_pool::AsyncWorkerPool;
use fang::{AsyncQueue, AsyncRunnable, FangError, SleepParams, async_trait, typetag};

use crate::order::Order;
use crate::system::{Settings, System, count};
use crate::workload::Workload;

/// Between two looks at an empty queue; with its default, seconds pass.
const SLEEP: Duration = Duration::from_millis(10);

#[typetag::serde]
#[async_trait]
impl AsyncRunnable for Order {
    async fn run(&self, _queue: &dyn AsyncQueueable) -> Result<(), FangError> {
        self.begin();
        Ok(())
    }
}

/// fang.
pub(crate) struct Fang;

impl System for Fang {
    const NAME: &'static str = "fang";
    const FILLERS: usize = 8; // one by one on one connection, a backlog would take minutes
    type Producer = AsyncQueue;
    type Worker = AsyncWorkerPool<AsyncQueue>;

    fn refuses(workload: Workload, _settings: Settings) -> Option<&'static str> {
        match workload {
            Workload::Bulk => Some("it has no call that enqueues many"),
            Workload::HeldSnapshot => {
                Some("it ends too few jobs a second for a snapshot to matter")
            }
            _ => None,
        }
    }

    async fn migrate(url: &str) -> anyhow::Result<()> {
        let mut conn = PgConnection::establish(url)?;
        fang::run_migrations_postgres(&mut conn).map_err(anyhow::Error::from_boxed)
    }

    async fn connect(url: &str, _settings: Settings) -> anyhow::Result<AsyncQueue> {
        queue(url, 1).await
    }

    async fn enqueue(producer: &mut AsyncQueue, order: Order) -> anyhow::Result<()> {
        producer.insert_task(&order).await?;
        Ok(())
    }

    async fn enqueue_all(producer: &mut AsyncQueue, orders: Vec<Order>) -> anyhow::Result<()> {
        for order in orders {
            producer.insert_task(&order).await?;
        }
        Ok(())
    }

    async fn left(url: &str) -> anyhow::Result<i64> {
        count(url, "SELECT count(*) FROM fang_tasks").await
    }

    async fn start(url: &str, settings: Settings) -> anyhow::Result<AsyncWorkerPool<AsyncQueue>> {
        let (workers, sleeps) = match settings {
            // How many workers has no default; the README has 2, on as many connections.
            Settings::Default => (2, SleepParams::default()),
            // README, "Starting workers" and "Configuring sleep values". Of 1, 2, 4 and 8 workers, 4 were the fastest.
            _ => (
                4,
                SleepParams {
                    sleep_period: SLEEP,
                    max_sleep_period: SLEEP,
                    min_sleep_period: SLEEP,
                    sleep_step: SLEEP,
                },
            ),
        };
        let mut pool = AsyncWorkerPool::builder()
            .number_of_workers(workers)
            .queue(queue(url, workers).await?)
            .sleep_params(sleeps)
            .build();
        pool.start().await;
        Ok(pool)
    }
}

async fn queue(url: &str, connections: u32) -> anyhow::Result<AsyncQueue> {
    let mut queue = AsyncQueue::builder()
        .uri(url)
        .max_pool_size(connections)
        .build();
    queue.connect().await?;
    Ok(queue)
}
