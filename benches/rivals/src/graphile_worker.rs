//! `graphile_worker`, the Rust port of Graphile Worker. It deletes jobs that are done.

use std::time::Duration;

use graphile_worker::{
    IntoTaskHandlerResult, JobSpec, LocalQueueConfig, TaskHandler, WorkerContext, WorkerOptions,
    WorkerUtils,
};
use tokio::task::JoinHandle;

use crate::order::Order;
use crate::system::{Settings, System, count, one_connection, tell};

/// Its schema by default.
const SCHEMA: &str = "graphile_worker";

impl TaskHandler for Order {
    const IDENTIFIER: &'static str = "noop";

    async fn run(self, _context: WorkerContext) -> impl IntoTaskHandlerResult {
        self.begin();
    }
}

/// `graphile_worker`.
pub(crate) struct GraphileWorker;

impl System for GraphileWorker {
    const NAME: &'static str = "graphile_worker";
    type Producer = WorkerUtils;
    type Worker = JoinHandle<()>;

    async fn migrate(url: &str) -> anyhow::Result<()> {
        WorkerUtils::new(one_connection(url).await?, SCHEMA)
            .migrate()
            .await?;
        Ok(())
    }

    async fn connect(url: &str, _settings: Settings) -> anyhow::Result<WorkerUtils> {
        Ok(WorkerUtils::new(one_connection(url).await?, SCHEMA))
    }

    async fn enqueue(producer: &mut WorkerUtils, order: Order) -> anyhow::Result<()> {
        producer.add_job(order, JobSpec::default()).await?;
        Ok(())
    }

    /// All in one call: docs of `WorkerUtils::add_jobs`, "more efficient … a single database round trip".
    async fn enqueue_all(producer: &mut WorkerUtils, orders: Vec<Order>) -> anyhow::Result<()> {
        let spec = JobSpec::default();
        let jobs: Vec<_> = orders.into_iter().map(|order| (order, &spec)).collect();
        producer.add_jobs(&jobs).await?;
        Ok(())
    }

    async fn left(url: &str) -> anyhow::Result<i64> {
        count(url, "SELECT count(*) FROM graphile_worker._private_jobs").await
    }

    async fn start(url: &str, settings: Settings) -> anyhow::Result<JoinHandle<()>> {
        let mut options = WorkerOptions::default()
            .database_url(url)
            .define_job::<Order>();
        if settings == Settings::Best {
            // The crate's benches/perf_test.rs, which drains no-op jobs by concurrency 500, polls and batches of
            // completions each 5 ms and a local queue of 5,000 jobs, on the pool of benches/common/mod.rs; and the 4 local
            // queues of 1,250 that the docs of `LocalQueueConfig::size` have as their example, for "very small high-volume jobs".
            options = options
                .max_pg_conn(100)
                .concurrency(500)
                .poll_interval(Duration::from_millis(5))
                .complete_job_batch_delay(Duration::from_millis(5))
                .local_queue(
                    LocalQueueConfig::default()
                        .with_size(1250)
                        .with_queue_count(4),
                );
        }
        let worker = Box::pin(options.init()).await?;
        Ok(tokio::spawn(async move { tell(worker.run().await) }))
    }
}
