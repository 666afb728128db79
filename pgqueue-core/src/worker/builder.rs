//! Settings and handlers of a worker, checked when it is built.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use super::config::{self, Config, Lane};
use super::registry::{Handler, Registry};
use super::{Worker, WorkerHandle};
use crate::context::{Context, RawJob};
use crate::enqueue::check_name;
use crate::error::Error;
use crate::job::Job;
use crate::outcome::HandlerResult;
use crate::source::{Connections, Source};

/// Most connections of the pool that is made from a URL; bring a pool of your own for more.
const URL_POOL_SIZE: usize = 10;

/// Builds a [`Worker`]. The first mistake is reported by [`build`](Self::build).
///
/// # Example
/// ```
/// use pgqueue_core::{Context, Job, Worker};
/// use std::time::Duration;
///
/// #[derive(serde::Serialize, serde::Deserialize)]
/// struct SendReceipt { order_id: i64 }
/// impl Job for SendReceipt { const KIND: &'static str = "send_receipt"; }
///
/// struct App { sender: String }
///
/// async fn send_receipt(job: SendReceipt, ctx: Context<App>) -> Result<(), String> {
///     println!("{}: receipt of order {}", ctx.state().sender, job.order_id);
///     Ok(())
/// }
///
/// let worker = Worker::builder("postgres://localhost/shop")
///     .state(App { sender: "shop@example.com".to_owned() })
///     .handle(send_receipt)
///     .handle_kind("email", |job, _ctx| async move { Ok::<_, String>(job.payload) })
///     .concurrency(20)
///     .poll_interval(Duration::from_secs(3))
///     .build();
/// assert!(worker.is_ok());
/// ```
#[must_use = "call `build`"]
pub struct WorkerBuilder<S = ()> {
    source: Source,
    state: Arc<S>,
    config: Config,
    handlers: Vec<(String, Handler)>,
    queues: Vec<Lane>,
    only_queues: Option<Vec<String>>,
    mistake: Option<Error>,
}

impl<S> std::fmt::Debug for WorkerBuilder<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WorkerBuilder")
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

impl WorkerBuilder<()> {
    pub(super) fn new(source: Source) -> Self {
        Self {
            source,
            state: Arc::new(()),
            config: Config::default(),
            handlers: Vec::new(),
            queues: Vec::new(),
            only_queues: None,
            mistake: None,
        }
    }

    /// Sets the state that handlers share, before the first handler is added.
    pub fn state<S: Send + Sync + 'static>(self, state: S) -> WorkerBuilder<S> {
        let mut mistake = self.mistake;
        if let Some((kind, _)) = self.handlers.first() {
            let message = format!("state was set after the handler of kind {kind:?}: set it first");
            mistake = mistake.or_else(|| Some(Error::configuration(message)));
        }
        WorkerBuilder {
            source: self.source,
            state: Arc::new(state),
            config: self.config,
            handlers: Vec::new(),
            queues: self.queues,
            only_queues: self.only_queues,
            mistake,
        }
    }
}

impl<S: Send + Sync + 'static> WorkerBuilder<S> {
    /// Adds an async handler; the kind is that of its first argument. The job's queue is served from then on.
    ///
    /// A panic fails the run and nothing else. A payload that is not of the type makes the job dead at once.
    pub fn handle<J, F, Fut, R>(self, handler: F) -> Self
    where
        J: Job,
        F: Fn(J, Context<S>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = R> + Send + 'static,
        R: HandlerResult,
    {
        let handler = Handler::asynchronous(Arc::clone(&self.state), handler);
        self.add(J::KIND, handler)
    }

    /// Adds a sync handler, run on a thread of its own, where it may use a sync `PgConnection`.
    ///
    /// Nothing can stop it but itself, or the end of the process, which does not wait for it: it should ask [`Context::is_cancelled`] between steps. When its deadline, a
    /// cancellation or a shutdown comes and it goes on, the job is ended without it (failed, cancelled or released; what
    /// it does to the job later is refused as `LeaseLost`), a warning is logged, and its slot stays taken until it returns.
    pub fn handle_blocking<J, F, R>(self, handler: F) -> Self
    where
        J: Job,
        F: Fn(J, Context<S>) -> R + Send + Sync + 'static,
        R: HandlerResult,
    {
        let handler = Handler::blocking(Arc::clone(&self.state), handler);
        self.add(J::KIND, handler)
    }

    /// Adds an async handler of a kind named by a text. The queue `default` is served; name others with
    /// [`queue`](Self::queue).
    pub fn handle_kind<F, Fut, R>(self, kind: &str, handler: F) -> Self
    where
        F: Fn(RawJob, Context<S>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = R> + Send + 'static,
        R: HandlerResult,
    {
        let handler = Handler::of_kind(Arc::clone(&self.state), handler);
        self.add(kind, handler)
    }

    /// Serves a queue with a concurrency of its own, within the worker's.
    ///
    /// Without it the queues of typed jobs ([`Job::QUEUE`](crate::Job::QUEUE)) are served, and `default` for kinds named by a text.
    pub fn queue(mut self, queue: impl Into<String>, concurrency: usize) -> Self {
        self.queues.push(Lane {
            queue: queue.into(),
            concurrency,
        });
        self
    }

    /// Serves these queues and no others. A handled type whose queue is not among them is an error.
    pub fn only_queues<Q: Into<String>>(mut self, queues: impl IntoIterator<Item = Q>) -> Self {
        self.only_queues = Some(queues.into_iter().map(Into::into).collect());
        self
    }

    /// Sets a label for people; the host's name by default. Identity is a number of its own at each start.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.config.name = name.into();
        self
    }

    /// Sets how many jobs may run at once, 1 to 100,000; 10 by default.
    ///
    /// Handlers that use [`Context::connection`] share the pool: one made from a URL has 10 connections. A blocking handler
    /// takes an OS thread for each job that runs.
    pub fn concurrency(mut self, concurrency: usize) -> Self {
        self.config.concurrency = concurrency;
        self
    }

    /// Sets how many jobs one statement may claim or end, 1 to 10,000; 1,000 by default. What is claimed ahead is bounded by
    /// four times as many.
    pub fn batch(mut self, batch: usize) -> Self {
        self.config.batch = batch;
        self
    }

    /// Sets how far ahead of its free slots the worker claims jobs: as many as it expects to finish within this time, judging
    /// by its last runs; 50 ms by default, 100 ms at most. Zero claims only what can start at once.
    ///
    /// Jobs that take microseconds are so claimed by the thousand, and those that take longer than this time one by one. At
    /// most four times [`batch`](Self::batch) jobs and 16 MiB of payloads are claimed ahead, and no job without a retry left.
    /// What waits is `running` in the table and counted as an attempt; if it cannot begin within 250 ms, or an eighth of the
    /// lease if that is less, it is given back, and nothing is claimed ahead for a second. A shutdown gives it back, too, at no
    /// cost.
    ///
    /// If the process dies, it comes back as lost, like what ran: after a wait of up to
    /// [`lost_base_wait`](Self::lost_base_wait), and then one at a time in each process.
    pub fn prefetch(mut self, length: Duration) -> Self {
        self.config.prefetch = length;
        self
    }

    /// Sets how often the worker looks for jobs that it was not notified of, 10 ms or more; 5 s by default.
    ///
    /// Without notifications (while the session that listens is away) a job waits that long at most, half of it on average. An idle
    /// worker makes about one query a second by default, two of them for each poll.
    pub fn poll_interval(mut self, interval: Duration) -> Self {
        self.config.poll_interval = interval;
        self
    }

    /// Sets the wait before the first retry, doubled for each next one; 1 s by default.
    pub fn retry_base_wait(mut self, wait: Duration) -> Self {
        self.config.retry_base_wait = wait;
        self
    }

    /// Sets the longest wait before a job runs again whose process died, multiplied by four for each further death;
    /// 10 s by default. The wait itself is random, from zero on.
    pub fn lost_base_wait(mut self, wait: Duration) -> Self {
        self.config.lost_base_wait = wait;
        self
    }

    /// Sets how many processes a job may take down, as the only suspect, before it is dead; 3 by default.
    ///
    /// The first loss does not count: many jobs ran then. After it a job is claimed only while no other such job runs in
    /// the process. Whichever worker takes the dead one's jobs counts by its own setting: give all of a schema the same.
    pub fn max_lost(mut self, losses: i32) -> Self {
        self.config.max_lost = losses;
        self
    }

    /// Sets how long the worker may be silent before the others take its jobs; 30 s by default.
    pub fn lease(mut self, lease: Duration) -> Self {
        self.config.lease = lease;
        self
    }

    /// Sets the longest run of jobs that have no timeout of their own; none by default.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.config.timeout = Some(timeout);
        self
    }

    /// Sets how long a handler may go on after it was told to stop (deadline or cancellation) before it is aborted; 5 s by default,
    /// half the lease at most.
    pub fn stop_wait(mut self, wait: Duration) -> Self {
        self.config.stop_wait = wait;
        self
    }

    /// Sets how long running jobs may go on at shutdown; 25 s by default.
    pub fn shutdown_grace(mut self, grace: Duration) -> Self {
        self.config.shutdown_grace = grace;
        self
    }

    /// Sets how long completed jobs are kept; 24 h by default, zero deletes them at once.
    ///
    /// A worker deletes what it finds in its schema, whoever ran it: the shortest retention of all workers counts for all jobs.
    pub fn completed_retention(mut self, retention: Duration) -> Self {
        self.config.completed_retention = retention;
        self
    }

    /// Sets how long cancelled jobs are kept; 24 h by default, zero deletes them at the next pruning. Dead jobs are kept
    /// until somebody purges them. As with [`completed_retention`](Self::completed_retention), the shortest of all workers counts.
    pub fn cancelled_retention(mut self, retention: Duration) -> Self {
        self.config.cancelled_retention = retention;
        self
    }

    /// Checks everything and makes the worker. No connection is made yet.
    ///
    /// # Errors
    /// [`ErrorKind::Configuration`](crate::ErrorKind::Configuration), naming the setting, or the kind and queue, and what to do.
    pub fn build(self) -> Result<Worker, Error> {
        if let Some(mistake) = self.mistake {
            return Err(mistake);
        }
        self.config.check()?;
        let mut registry = Registry::new();
        for (kind, handler) in self.handlers {
            check_name("kind", &kind).map_err(|error| Error::configuration(error.to_string()))?;
            if registry.insert(kind.clone(), handler).is_some() {
                return Err(Error::configuration(format!(
                    "kind {kind:?} has two handlers: keep one, or give one of the types another KIND"
                )));
            }
        }
        if registry.is_empty() {
            return Err(Error::configuration(
                "the worker has no handler: add one with `handle`",
            ));
        }
        let mut handled: Vec<(&str, Option<&'static str>)> = registry
            .iter()
            .map(|(kind, handler)| (kind.as_str(), handler.queue))
            .collect();
        handled.sort_unstable();
        let lanes = config::lanes(
            self.config.concurrency,
            self.only_queues.as_deref(),
            &self.queues,
            &handled,
        )?;
        let connections = Connections::of(self.source, self.config.concurrency.min(URL_POOL_SIZE))?;
        Ok(Worker {
            config: self.config,
            lanes,
            registry,
            connections,
            shutdown: WorkerHandle::new(),
        })
    }

    fn add(mut self, kind: &str, handler: Handler) -> Self {
        self.handlers.push((kind.to_owned(), handler));
        self
    }
}
