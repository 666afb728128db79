//! What a job queue must do to be measured. Each is one file that says it in the queue's own calls, with settings cited.

use std::fmt::Display;
use std::future::Future;
use std::marker::PhantomData;

use futures_util::future::LocalBoxFuture;
use pgqueue_suite::bench::{bare, report::note};
use serde::{Deserialize, Serialize};
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;

use crate::apalis_postgres::ApalisPostgres;
use crate::awa::Awa;
use crate::fang::Fang;
use crate::graphile_worker::GraphileWorker;
use crate::order::Order;
use crate::pgqueue::Pgqueue;
use crate::riverqueue::Riverqueue;
use crate::task::{self, Found, Task};
use crate::workload::Workload;

/// All that are measured, in the order of the table.
pub(crate) const SYSTEMS: [&dyn Measured; 6] = [
    &Of::<Pgqueue>(PhantomData),
    &Of::<GraphileWorker>(PhantomData),
    &Of::<Riverqueue>(PhantomData),
    &Of::<ApalisPostgres>(PhantomData),
    &Of::<Awa>(PhantomData),
    &Of::<Fang>(PhantomData),
];

/// How a worker is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Settings {
    /// Nothing is set but what has no default.
    Default,
    /// As its own documentation or benchmark sets it to be fast.
    Best,
    /// As best, and completed jobs are deleted at once.
    Deleting,
}

impl Settings {
    /// Gives its name in tables.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::Best => "best",
            Self::Deleting => "deleting",
        }
    }
}

/// A job queue.
pub(crate) trait System: 'static {
    /// The name of its crate.
    const NAME: &'static str;
    /// The settings that it is measured with.
    const SETTINGS: &'static [Settings] = &[Settings::Default, Settings::Best];
    /// On how many connections a backlog is enqueued.
    const FILLERS: usize = 1;
    /// What enqueues, on one connection.
    type Producer;
    /// A worker that runs until this is dropped, or the process ends.
    type Worker;

    /// Tells why a workload is not measured with some settings.
    fn refuses(workload: Workload, settings: Settings) -> Option<&'static str> {
        let is_held = workload == Workload::HeldSnapshot;
        (is_held && settings == Settings::Default).then_some("measured with the best settings only")
    }

    /// Makes its tables.
    fn migrate(url: &str) -> impl Future<Output = anyhow::Result<()>>;

    /// Connects to enqueue, as a process with these settings does.
    fn connect(
        url: &str,
        settings: Settings,
    ) -> impl Future<Output = anyhow::Result<Self::Producer>>;

    /// Enqueues one job, committed.
    fn enqueue(
        producer: &mut Self::Producer,
        order: Order,
    ) -> impl Future<Output = anyhow::Result<()>>;

    /// Enqueues many jobs as fast as it can.
    fn enqueue_all(
        producer: &mut Self::Producer,
        orders: Vec<Order>,
    ) -> impl Future<Output = anyhow::Result<()>>;

    /// Counts the jobs that are not done.
    fn left(url: &str) -> impl Future<Output = anyhow::Result<i64>>;

    /// Starts a worker that runs all jobs.
    fn start(url: &str, settings: Settings) -> impl Future<Output = anyhow::Result<Self::Worker>>;
}

/// A [`System`] without its types.
pub(crate) trait Measured: Sync {
    /// Gives [`System::NAME`].
    fn name(&self) -> &'static str;
    /// Gives [`System::SETTINGS`].
    fn settings(&self) -> &'static [Settings];
    /// As [`System::refuses`].
    fn refuses(&self, workload: Workload, settings: Settings) -> Option<&'static str>;
    /// Does a task of a process of its own.
    fn run(&self, task: Task) -> LocalBoxFuture<'static, anyhow::Result<Found>>;
}

struct Of<S>(PhantomData<fn() -> S>);

impl<S: System> Measured for Of<S> {
    fn name(&self) -> &'static str {
        S::NAME
    }

    fn settings(&self) -> &'static [Settings] {
        S::SETTINGS
    }

    fn refuses(&self, workload: Workload, settings: Settings) -> Option<&'static str> {
        S::refuses(workload, settings)
    }

    fn run(&self, task: Task) -> LocalBoxFuture<'static, anyhow::Result<Found>> {
        Box::pin(task::run::<S>(task))
    }
}

/// Asks the database for a number.
pub(crate) async fn count(url: &str, query: &str) -> anyhow::Result<i64> {
    let row = bare::connect(url).await?.query_one(query, &[]).await?;
    Ok(row.try_get(0)?)
}

/// Says why a worker ended: none should.
pub(crate) fn tell<E: Display>(ended: Result<(), E>) {
    if let Err(error) = ended {
        note(&format!("the worker ended: {error}"));
    }
}

/// Makes a pool of one connection for a system that enqueues on a pool, without the ping that sqlx sends by default each
/// time a connection is taken: that would double the round trips of an enqueue.
pub(crate) async fn one_connection(url: &str) -> anyhow::Result<PgPool> {
    let pool = PgPoolOptions::new()
        .max_connections(1)
        .test_before_acquire(false);
    Ok(pool.connect(url).await?)
}
