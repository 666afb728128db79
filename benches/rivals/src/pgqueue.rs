//! pgqueue.

use std::future::pending;
use std::time::Duration;

use diesel::prelude::*;
use diesel_async::{AsyncConnection as _, AsyncPgConnection};
use pgqueue_core::{NewJob, RawJob, Worker};
use serde_json::to_value;
use tokio::task::JoinHandle;

use crate::order::Order;
use crate::system::{Settings, System, count, tell};
use crate::workload::Workload;

/// Jobs a claim, as in `benches/throughput.rs`.
const BATCH: usize = 1000;

/// pgqueue.
pub(crate) struct Pgqueue;

impl System for Pgqueue {
    const NAME: &'static str = "pgqueue";
    const SETTINGS: &'static [Settings] = &[Settings::Default, Settings::Best, Settings::Deleting];
    type Producer = AsyncPgConnection;
    type Worker = JoinHandle<()>;

    fn refuses(workload: Workload, settings: Settings) -> Option<&'static str> {
        let is_other = settings == Settings::Deleting && !workload.has_backlog();
        is_other.then_some("measured with a backlog only")
    }

    async fn migrate(url: &str) -> anyhow::Result<()> {
        pgqueue_core::migrate(&mut PgConnection::establish(url)?)?;
        Ok(())
    }

    async fn connect(url: &str, _settings: Settings) -> anyhow::Result<AsyncPgConnection> {
        Ok(AsyncPgConnection::establish(url).await?)
    }

    async fn enqueue(producer: &mut AsyncPgConnection, order: Order) -> anyhow::Result<()> {
        NewJob::new("noop", to_value(order)?)
            .enqueue_async(producer)
            .await?;
        Ok(())
    }

    async fn enqueue_all(
        producer: &mut AsyncPgConnection,
        orders: Vec<Order>,
    ) -> anyhow::Result<()> {
        let jobs: Result<Vec<NewJob>, serde_json::Error> = orders
            .into_iter()
            .map(|order| Ok(NewJob::new("noop", to_value(order)?)))
            .collect();
        let jobs = jobs?;
        producer
            .transaction(async |conn| pgqueue_core::enqueue_all_async(conn, jobs).await)
            .await?;
        Ok(())
    }

    async fn left(url: &str) -> anyhow::Result<i64> {
        count(
            url,
            "SELECT count(*) FROM pgqueue_jobs WHERE state <> 'completed'",
        )
        .await
    }

    async fn start(url: &str, settings: Settings) -> anyhow::Result<JoinHandle<()>> {
        let mut builder = Worker::builder(url);
        if settings != Settings::Default {
            builder = builder.concurrency(3 * BATCH).batch(BATCH); // benches/throughput.rs
        }
        if settings == Settings::Deleting {
            builder = builder.completed_retention(Duration::ZERO);
        }
        let worker = builder.handle_kind("noop", async |job: RawJob, _context| {
            serde_json::from_value::<Order>(job.payload).map(|order| order.begin())
        });
        let worker = worker.build()?;
        Ok(tokio::spawn(async {
            tell(worker.run(pending::<()>()).await);
        }))
    }
}
