//! Shutdown in phases: stop claiming and let runs end; when the grace period is over, or at once when asked, tell the
//! rest to stop and release it. A phase is never taken back.

use std::future::Future;
use std::sync::Arc;

#[cfg(unix)]
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

/// How far the worker is from its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    /// Claims and runs.
    Running,
    /// Claims no more; what runs may end by itself within the grace period.
    Draining,
    /// What runs is told to stop, and released.
    Stopping,
}

/// Ends a worker from elsewhere. Cheap to clone; works before and during `run`.
///
/// ```no_run
/// # async fn example() -> Result<(), pgqueue_core::Error> {
/// # use pgqueue_core::Worker;
/// let worker = Worker::builder("postgres://localhost/app").handle_kind("email", async |_job, _ctx| Ok::<_, String>(())).build()?;
/// let handle = worker.handle();
/// let running = tokio::spawn(worker.run(std::future::pending::<()>()));
/// handle.stop(); // graceful
/// running.await.expect("the worker does not panic")?;
/// # Ok(()) }
/// ```
#[derive(Debug, Clone)]
pub struct WorkerHandle(Arc<watch::Sender<Phase>>);

impl WorkerHandle {
    pub(crate) fn new() -> Self {
        Self(Arc::new(watch::Sender::new(Phase::Running)))
    }

    /// Stops gracefully: claims no more, waits for running jobs up to the grace period, then stops and releases the rest.
    pub fn stop(&self) {
        self.advance(Phase::Draining);
    }

    /// Stops without the grace period: running jobs are told to stop and released at once, without costing an attempt.
    pub fn stop_now(&self) {
        self.advance(Phase::Stopping);
    }

    pub(crate) fn phase(&self) -> Phase {
        *self.0.borrow()
    }

    pub(crate) fn is_running(&self) -> bool {
        self.phase() == Phase::Running
    }

    /// Resolves when the worker claims no more.
    pub(crate) fn draining(&self) -> impl Future<Output = ()> + Send + use<> {
        self.reached(Phase::Draining)
    }

    /// Resolves when the phase is reached or passed.
    pub(crate) fn reached(&self, phase: Phase) -> impl Future<Output = ()> + Send + use<> {
        let mut phases = self.0.subscribe();
        let keep = Arc::clone(&self.0);
        async move {
            let _gone = phases.wait_for(|now| *now >= phase).await; // cannot fail: `keep` holds the sender
            drop(keep);
        }
    }

    fn advance(&self, phase: Phase) {
        self.0.send_if_modified(|now| {
            let later = phase > *now;
            *now = (*now).max(phase);
            later
        });
    }
}

/// Hears SIGINT and SIGTERM (Ctrl-C where there are no signals); others that listen hear them as well.
/// One listener for a worker's whole life: a signal that came between two would be lost.
pub(super) struct Signals(#[cfg(unix)] Option<(Signal, Signal)>);

impl Signals {
    #[cfg(unix)]
    pub(super) fn new() -> Self {
        let listen = || {
            Ok((
                signal(SignalKind::interrupt())?,
                signal(SignalKind::terminate())?,
            ))
        };
        let signals = listen().inspect_err(|error: &std::io::Error| {
            tracing::error!(%error, "cannot listen for signals; the worker ends only by its handle");
        });
        Self(signals.ok())
    }

    #[cfg(not(unix))]
    pub(super) fn new() -> Self {
        Self()
    }

    #[cfg(unix)]
    pub(super) async fn next(&mut self) {
        match &mut self.0 {
            Some((interrupt, terminate)) => {
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                }
            }
            None => std::future::pending().await,
        }
    }

    #[cfg(not(unix))]
    pub(super) async fn next(&mut self) {
        if let Err(error) = tokio::signal::ctrl_c().await {
            tracing::error!(%error, "cannot listen for Ctrl-C; the worker ends only by its handle");
            std::future::pending::<()>().await;
        }
    }
}
