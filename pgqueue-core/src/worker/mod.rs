//! The worker: claims jobs, runs their handlers, stores how the runs ended, and outlives everything but its shutdown.
//!
//! [`fetch`] claims, [`execute`] runs, [`finish`] stores; [`heartbeat`] keeps the lease, [`listener`] hears of work,
//! [`upkeep`] and [`crate::maintenance`] put right what was lost. Each loop owns its connection and survives its failures.

mod ahead;
mod builder;
mod conclude;
mod config;
mod cursor;
mod ends;
mod engine;
pub(crate) mod execute;
mod failures;
mod fetch;
mod finish;
mod flights;
mod heartbeat;
mod lanes;
mod listener;
pub(crate) mod next_move;
mod polls;
pub(crate) mod registry;
mod shutdown;
mod slots;
mod tally;
mod upkeep;
mod waiting;
mod wake_mark;

use std::future::Future;
use std::sync::atomic::{AtomicBool, AtomicI64};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chrono::DateTime;
use futures_util::future::select_all;
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinHandle;

pub use builder::WorkerBuilder;
pub use shutdown::WorkerHandle;

use crate::error::{Error, ErrorKind};
use crate::maintenance::{self, Duties, Taken};
use crate::migrate;
use crate::pooler;
use crate::source::{Connections, Link, Purpose, Source};
use crate::sql::{Ledger, Unregister};
use config::{Config, Lane};
use ends::Finish;
use engine::{Engine, Pulse, Wakes};
use flights::{Flights, StopReason};
use heartbeat::Heartbeat;
use registry::Registry;
use shutdown::{Phase, Signals};
use slots::Slots;
use tally::Tally;

/// How long the worker's row and last statistics may take to be stored at the end.
const FAREWELL_LIMIT: Duration = Duration::from_secs(5);

/// A worker, ready to run. Build one with [`Worker::builder`].
///
/// It makes six connections of its own (claims, ends, notifications, upkeep, maintenance, heartbeat) beside the pool that handlers use,
/// and one OS thread for the heartbeat. It runs on any tokio runtime.
///
/// A handler that panics fails its run and nothing else, unless the program is built with `panic = "abort"`: then it ends the
/// process, as a crash does, and what ran there comes back as lost when the lease is over. The worker warns of it at its start.
#[must_use = "a worker does nothing until it runs"]
pub struct Worker {
    config: Config,
    lanes: Vec<Lane>,
    registry: Registry,
    connections: Connections,
    shutdown: WorkerHandle,
}

impl std::fmt::Debug for Worker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Worker")
            .field("config", &self.config)
            .field("queues", &self.lanes)
            .finish_non_exhaustive()
    }
}

impl Worker {
    /// Starts to build a worker on a deadpool or bb8 pool of diesel-async, or on a URL.
    pub fn builder(source: impl Into<Source>) -> WorkerBuilder<()> {
        WorkerBuilder::new(source.into())
    }

    /// Gives a handle that ends the worker from elsewhere, before or while it runs.
    #[must_use]
    pub fn handle(&self) -> WorkerHandle {
        self.shutdown.clone()
    }

    /// Runs until `shutdown` resolves or the [handle](Self::handle) says so, then stops gracefully.
    ///
    /// Stopping: claims no more; waits for what runs, at most the grace period; then fires the cancellation of the rest,
    /// aborts it, and releases its jobs to pending without costing an attempt.
    ///
    /// # Errors
    /// Only at the start: [`ErrorKind::Connection`] when the database cannot be reached,
    /// [`ErrorKind::Configuration`] when a pooler in front of it gives sessions away (PgBouncer with
    /// `pool_mode = transaction`), [`ErrorKind::Migration`] when a migration is missing. Later failures of the database
    /// are logged and outlived.
    ///
    /// # Cancellation safety
    /// Dropped, it claims no more, but nothing is released: what ran comes back when its lease is over. End it by the
    /// handle or `shutdown` instead.
    pub async fn run<F: Future>(self, shutdown: F) -> Result<(), Error> {
        let handle = self.handle();
        let stop = async move {
            shutdown.await;
            handle.stop();
            std::future::pending::<()>().await;
        };
        tokio::select! {
            ended = self.work(false) => ended,
            () = stop => Ok(()), // never: it only says stop
        }
    }

    /// Runs until SIGINT or SIGTERM, then stops gracefully; a second signal skips the grace period.
    ///
    /// Effect and errors are those of [`run`](Self::run). Other listeners, such as actix-web's server, hear the same signals.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub async fn run_until_signal(self) -> Result<(), Error> {
        let handle = self.handle();
        let mut signals = Signals::new();
        self.run(async move {
            signals.next().await;
            tracing::info!("stopping gracefully; signal once more to skip the grace period");
            tokio::spawn(async move {
                signals.next().await;
                handle.stop_now();
            });
        })
        .await
    }

    /// Runs until no job that this worker handles is due or running, then stops. For scripts and tests.
    ///
    /// Jobs that wait for a later time, their retry or their schedule, are left; jobs that other workers run are not
    /// waited for.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub async fn run_until_empty(self) -> Result<(), Error> {
        self.work(true).await
    }

    #[cfg(feature = "testing")]
    pub(crate) fn queues(&self) -> Vec<String> {
        self.lanes.iter().map(|lane| lane.queue.clone()).collect()
    }

    #[cfg(feature = "testing")]
    pub(crate) fn kinds(&self) -> Vec<String> {
        self.registry.keys().cloned().collect()
    }

    #[cfg(feature = "testing")]
    pub(crate) fn handler(&self, kind: &str) -> Option<&registry::Handler> {
        self.registry.get(kind)
    }

    #[cfg(feature = "testing")]
    pub(crate) fn retry_base_wait(&self) -> Duration {
        self.config.retry_base_wait
    }

    async fn work(self, until_empty: bool) -> Result<(), Error> {
        pooler::refuse_shared_sessions(&self.connections).await?;
        let mut link = Link::new(self.connections.clone(), Purpose::Other);
        migrate::check(&link.load(Ledger {}).await?)?;
        let (engine, finished) = self.start(&mut link, until_empty).await?;
        link.disconnect(); // made anew for the farewell
        tracing::info!(
            worker.id = engine.worker_id(),
            queues = engine.queues().join(","),
            kinds = engine.kinds.len(),
            concurrency = engine.config.concurrency,
            "worker started"
        );
        if cfg!(panic = "abort") {
            tracing::warn!(
                "the program is built with panic = \"abort\": a handler that panics ends the process, and the jobs that run come back as lost"
            );
        }
        let mut heartbeat = Heartbeat::start(Arc::clone(&engine))?;
        let mut tasks = Tasks::start(&engine, finished);
        let failed = tokio::select! {
            biased;
            () = engine.shutdown.reached(Phase::Draining) => false,
            () = tasks.failed() => engine.is_running(), // else it was just told to stop, and has ended as it should
            () = heartbeat.failed() => engine.is_running(),
        };
        if failed {
            tracing::error!("a loop of the worker has panicked; the worker stops");
            engine.shutdown.stop_now();
        }
        tasks.end_fetching().await; // what a claim on its way brings is released like the rest
        execute::give_back(&engine, std::time::Instant::now());
        stop(&engine).await;
        tasks.end().await;
        heartbeat.stop().await;
        let unregister = link.load::<_, i64>(Unregister {
            worker: engine.worker_id(),
        });
        if !matches!(
            tokio::time::timeout(FAREWELL_LIMIT, unregister).await,
            Ok(Ok(_))
        ) {
            tracing::warn!("the worker could not remove its row; the others will");
        }
        tracing::info!(worker.id = engine.worker_id(), "worker stopped");
        if failed { Err(panicked()) } else { Ok(()) }
    }

    /// Registers the worker and puts together what its tasks share.
    async fn start(
        self,
        link: &mut Link,
        until_empty: bool,
    ) -> Result<(Arc<Engine>, mpsc::UnboundedReceiver<Finish>), Error> {
        let mut kinds: Vec<String> = self.registry.keys().cloned().collect();
        kinds.sort();
        let (sender, finished) = mpsc::unbounded_channel();
        let slots = Slots::new(
            self.config.concurrency,
            self.lanes.iter().map(|lane| lane.concurrency).collect(),
        );
        let mut engine = Engine {
            config: self.config,
            lanes: self.lanes,
            kinds,
            registry: self.registry,
            connections: self.connections,
            shutdown: self.shutdown,
            until_empty,
            identity: watch::Sender::new(0),
            registered_at: DateTime::default(),
            channel: String::new(),
            slots,
            flights: Flights::default(),
            wakes: Wakes::default(),
            finished: sender,
            tally: Mutex::new(Tally::default()),
            pulse: Pulse::default(),
            ended_batch: AtomicI64::new(0),
            listening: AtomicBool::new(false),
            cancel_asked: Notify::new(),
        };
        let registered = heartbeat::register(&engine, link).await?;
        engine.identify(registered.id);
        engine.registered_at = registered.at;
        engine.channel = registered.channel;
        Ok((Arc::new(engine), finished))
    }
}

/// Lets runs end within the grace period, then tells the rest to stop, and waits until their ends are stored.
async fn stop(engine: &Engine) {
    let grace = engine.config.shutdown_grace;
    tokio::select! {
        () = finish::drained(engine) => {}
        () = tokio::time::sleep(grace) => {}
        () = engine.shutdown.reached(Phase::Stopping) => {}
    }
    engine.shutdown.stop_now();
    if !engine.flights.is_empty() {
        tracing::warn!(
            runs = engine.flights.len(),
            "the grace period is over; running jobs are stopped and released"
        );
        engine.flights.stop_all(StopReason::Shutdown);
    }
    finish::drained(engine).await;
}

/// The worker's loops. Aborted if the worker is dropped: nothing of it goes on in the background.
struct Tasks {
    loops: Vec<JoinHandle<()>>,
    finisher: JoinHandle<()>,
}

impl Tasks {
    fn start(engine: &Arc<Engine>, finished: mpsc::UnboundedReceiver<Finish>) -> Self {
        let duties = Duties {
            connections: engine.connections.clone(),
            shutdown: engine.shutdown.clone(),
            lease: engine.config.lease,
            interval: engine.config.reap_interval(),
            max_lost: engine.config.max_lost,
            lost_base_wait: engine.config.lost_base_wait,
            completed_retention: engine.config.completed_retention,
            cancelled_retention: engine.config.cancelled_retention,
            stats_retention: engine.config.stats_retention,
        };
        let judge = {
            let engine = Arc::clone(engine);
            move || {
                let lease = engine.config.lease;
                let may_judge = engine.pulse.may_judge(std::time::Instant::now(), lease);
                may_judge.then(|| engine.worker_id())
            }
        };
        let count = {
            let engine = Arc::clone(engine);
            move |taken: &[Taken]| {
                for (_, queue, kind, state, now) in taken {
                    engine.with_tally(|tally| tally.count_lost(*now, queue, kind, *state));
                }
            }
        };
        let loops = vec![
            tokio::spawn(fetch::fetch_jobs(Arc::clone(engine))),
            tokio::spawn(listener::listen_for_ever(Arc::clone(engine))),
            tokio::spawn(upkeep::keep_up(Arc::clone(engine))),
            tokio::spawn(maintenance::maintain(duties, judge, count)),
        ];
        Self {
            loops,
            finisher: tokio::spawn(finish::finish_runs(Arc::clone(engine), finished)),
        }
    }

    /// Resolves when a loop has ended although the worker goes on, which only a panic does.
    async fn failed(&mut self) {
        let _ended = select_all(self.loops.iter_mut().chain([&mut self.finisher])).await;
    }

    /// Waits for the fetch loop, so that nothing is claimed any more.
    async fn end_fetching(&mut self) {
        let fetcher = &mut self.loops[0];
        if !fetcher.is_finished()
            && tokio::time::timeout(FAREWELL_LIMIT, &mut *fetcher)
                .await
                .is_err()
        {
            tracing::warn!(
                "the last claim did not end in time and is aborted; what it took will be rescued"
            );
            fetcher.abort();
        }
    }

    /// Waits for the loops, which all end by themselves when the worker stops, but for the finisher.
    async fn end(mut self) {
        let all = async {
            for task in self.loops.iter_mut().filter(|task| !task.is_finished()) {
                let _panicked = task.await; // the panic's message is in the log already
            }
        };
        if tokio::time::timeout(FAREWELL_LIMIT, all).await.is_err() {
            tracing::warn!("a loop of the worker did not end in time and is aborted");
        }
    }
}

fn panicked() -> Error {
    Error::new(
        ErrorKind::Internal,
        "a loop of the worker panicked, which is a bug of pgqueue: start the worker again, and report the panic's message",
    )
}

impl Drop for Tasks {
    fn drop(&mut self) {
        for task in self.loops.iter().chain([&self.finisher]) {
            task.abort();
        }
    }
}
