//! The beat that keeps the worker's lease, on an OS thread with a runtime of its own: a handler that blocks the host's
//! runtime must not look like a dead process. Its connection is made inside that runtime, which drives it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
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
    let mut registered_at = engine.registered_at;
    let mut failures = Failures::to("renew the worker's lease");
    loop {
        let wait = match beat(engine, &mut registered_at, &mut link).await {
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

async fn beat(
    engine: &Engine,
    registered_at: &mut DateTime<Utc>,
    link: &mut Link,
) -> Result<(), Error> {
    let lease = engine.config.lease;
    let sent = Instant::now();
    let renewed: Vec<i64> = link
        .load(Beat {
            worker: engine.worker_id(),
            lease: Span(lease),
            registered_at: *registered_at,
        })
        .await?;
    if renewed.is_empty() && engine.shutdown.phase() < Phase::Stopping {
        let registered = register(engine, link).await?;
        *registered_at = registered.at;
        engine.reregistered(registered.id);
    }
    engine.pulse.beat(sent, lease);
    Ok(())
}

/// What a worker goes by.
pub(super) struct Registered {
    pub(super) id: i64,
    /// The schema's NOTIFY channel.
    pub(super) channel: String,
    pub(super) at: DateTime<Utc>,
}

/// Registers the worker under a fresh id.
pub(super) async fn register(engine: &Engine, link: &mut Link) -> Result<Registered, Error> {
    let queues: Map<String, Value> = engine
        .lanes
        .iter()
        .map(|lane| (lane.queue.clone(), lane.concurrency.into()))
        .collect();
    let host = gethostname::gethostname().to_string_lossy().into_owned();
    let register = Register {
        name: &engine.config.name,
        host: &host,
        pid: i32::try_from(std::process::id()).unwrap_or(0),
        version: env!("CARGO_PKG_VERSION"),
        queues: &Value::Object(queues),
        kinds: &engine.kinds,
        lease: Span(engine.config.lease),
    };
    let mut registered = link.load(register).await?;
    let (id, channel, at) = registered.pop().ok_or_else(|| {
        Error::new(
            crate::ErrorKind::Database,
            "the worker could not register: its row did not come back",
        )
    })?;
    Ok(Registered { id, channel, at })
}
