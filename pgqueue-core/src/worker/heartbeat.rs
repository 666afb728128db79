//! The beat that keeps the worker's lease, on an OS thread with a runtime of its own: a handler that blocks the host's
//! runtime must not look like a dead process. Its connection is made inside that runtime, which drives it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Map, Value};

use super::engine::Engine;
use super::failures::Failures;
use super::shutdown::Phase;
use crate::error::Error;
use crate::model::Span;
use crate::source::{Link, Purpose};
use crate::sql::{Beat, Register};

/// A running heartbeat; it beats until [`stop`](Self::stop).
pub(super) struct Heartbeat {
    stop: tokio::sync::oneshot::Sender<()>,
    stopped: tokio::sync::oneshot::Receiver<()>,
}

impl Heartbeat {
    pub(super) fn start(engine: Arc<Engine>) -> Result<Self, Error> {
        let (stop, stopping) = tokio::sync::oneshot::channel();
        let (done, stopped) = tokio::sync::oneshot::channel();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|cause| {
                Error::configuration("cannot make the heartbeat's runtime").caused(cause)
            })?;
        let beat = move || {
            runtime.block_on(async {
                tokio::select! {
                    () = beat_for_ever(&engine) => {}
                    _ = stopping => {}
                }
            });
            drop(runtime);
            let _gone = done.send(()); // nobody waits any more: fine
        };
        std::thread::Builder::new()
            .name("pgqueue-heartbeat".to_owned())
            .spawn(beat)
            .map_err(|cause| {
                Error::configuration("cannot start the heartbeat's thread").caused(cause)
            })?;
        Ok(Self { stop, stopped })
    }

    /// Resolves when the thread has ended although nobody stopped it.
    pub(super) async fn failed(&mut self) {
        let _ended = (&mut self.stopped).await;
    }

    /// Stops the beat and waits until its connection is closed.
    pub(super) async fn stop(self) {
        let _gone = self.stop.send(()); // the thread has ended already: fine
        if !self.stopped.is_terminated() {
            let _gone = self.stopped.await;
        }
    }
}

async fn beat_for_ever(engine: &Engine) {
    let interval = engine.config.beat_interval();
    let mut link = Link::new(engine.connections.clone(), Purpose::Other).within(interval);
    let mut failures = Failures::to("renew the worker's lease");
    loop {
        let wait = match beat(engine, &mut link).await {
            Ok(()) => {
                failures.end(engine.worker_id());
                interval.mul_f64(0.9 + fastrand::f64() / 10.0)
            }
            Err(error) => {
                failures.add(&error, engine.worker_id());
                (interval / 10).min(Duration::from_secs(1))
            }
        };
        tokio::time::sleep(wait).await;
    }
}

async fn beat(engine: &Engine, link: &mut Link) -> Result<(), Error> {
    let lease = engine.config.lease;
    let sent = Instant::now();
    let renewed: Vec<i64> = link
        .load(Beat {
            worker: engine.worker_id(),
            lease: Span(lease),
        })
        .await?;
    if renewed.is_empty() && engine.shutdown.phase() < Phase::Stopping {
        let (id, _) = register(engine, link).await?;
        engine.reregistered(id);
    }
    engine.pulse.beat(sent, lease);
    Ok(())
}

/// Registers the worker under a fresh id; also answers the schema's channel.
pub(super) async fn register(engine: &Engine, link: &mut Link) -> Result<(i64, String), Error> {
    let queues: Map<String, Value> = engine
        .lanes
        .iter()
        .map(|lane| (lane.queue.clone(), lane.concurrency.into()))
        .collect();
    registration(
        &engine.config.name,
        &Value::Object(queues),
        &engine.kinds,
        engine.config.lease,
        link,
    )
    .await
}

/// Inserts a worker's row.
pub(super) async fn registration(
    name: &str,
    queues: &Value,
    kinds: &[String],
    lease: Duration,
    link: &mut Link,
) -> Result<(i64, String), Error> {
    let host = gethostname::gethostname().to_string_lossy().into_owned();
    let register = Register {
        name,
        host: &host,
        pid: i32::try_from(std::process::id()).unwrap_or(0),
        version: env!("CARGO_PKG_VERSION"),
        queues,
        kinds,
        lease: Span(lease),
    };
    let mut registered = link.load(register).await?;
    registered.pop().ok_or_else(|| {
        Error::new(
            crate::ErrorKind::Database,
            "the worker could not register: its row did not come back",
        )
    })
}
