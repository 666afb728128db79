//! What keeps one worker's own affairs in order: lost claims, cancellations that were not heard, statistics.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::engine::Engine;
use super::failures::Failures;
use super::flights::StopReason;
use super::shutdown::Phase;
use crate::error::Error;
use crate::source::{Link, Purpose};
use crate::sql::{CancelRequests, FlushStats, Reconcile};

/// How often cancellations are asked for while jobs run, besides after each notification: one may be missed.
const CANCEL_POLL: Duration = Duration::from_secs(1);
/// How often statistics are stored.
const FLUSH_INTERVAL: Duration = Duration::from_secs(5);

/// Runs until the worker stops.
pub(super) async fn keep_up(engine: Arc<Engine>) {
    let mut upkeep = Upkeep::new(engine);
    let mut failures = Failures::to("do the worker's upkeep");
    while upkeep.engine.shutdown.phase() < Phase::Stopping {
        let engine = Arc::clone(&upkeep.engine);
        tokio::select! {
            () = engine.sleep_unless(Phase::Stopping, upkeep.pause()) => {}
            () = engine.cancel_asked.notified() => upkeep.cancel_at = Instant::now(),
        }
        match upkeep.round().await {
            Ok(true) => failures.end(upkeep.engine.worker_id()),
            Ok(false) => {}
            Err(error) => {
                failures.add(&error, upkeep.engine.worker_id());
            }
        }
    }
    if let Err(error) = upkeep.flush().await {
        tracing::warn!(%error, "the last statistics could not be stored");
    }
}

struct Upkeep {
    engine: Arc<Engine>,
    link: Link,
    reconcile_at: Instant,
    cancel_at: Instant,
    flush_at: Instant,
}

impl Upkeep {
    fn new(engine: Arc<Engine>) -> Self {
        let now = Instant::now();
        let link = Link::new(engine.connections.clone(), Purpose::Other);
        Self {
            link,
            reconcile_at: now,
            cancel_at: now,
            flush_at: now + FLUSH_INTERVAL,
            engine,
        }
    }

    fn pause(&self) -> Duration {
        CANCEL_POLL.min(self.engine.config.beat_interval())
    }

    /// Does what is due; true: the database has certainly answered.
    async fn round(&mut self) -> Result<bool, Error> {
        let now = Instant::now();
        let mut has_answered = false;
        if self.cancel_at <= now {
            if !self.engine.flights.is_empty() {
                self.ask_for_cancellations().await?;
                has_answered = true;
            }
            self.cancel_at = now + CANCEL_POLL;
        }
        if self.reconcile_at <= now {
            self.reconcile().await?;
            self.reconcile_at = now + self.engine.config.beat_interval();
            has_answered = true;
        }
        if self.flush_at <= now {
            self.flush().await?;
            self.flush_at = now + FLUSH_INTERVAL;
        }
        Ok(has_answered)
    }

    async fn ask_for_cancellations(&mut self) -> Result<(), Error> {
        let worker = self.engine.worker_id();
        let requests: Vec<(i64, i64)> = self.link.load(CancelRequests { worker }).await?;
        for flight in requests {
            self.engine.flights.stop_run(flight, StopReason::Cancelled);
        }
        Ok(())
    }

    /// Releases jobs that a claim took for this worker although its answer never arrived.
    async fn reconcile(&mut self) -> Result<(), Error> {
        // In this order: a claim that ends in between is newer than `ended_batch` and stays untouched.
        let ended_batch = self.engine.ended_batch.load(Ordering::SeqCst);
        let known = self.engine.flights.jobs();
        let statement = Reconcile {
            worker: self.engine.worker_id(),
            ended_batch,
            known: &known,
        };
        let released: Vec<i64> = self.link.load(statement).await?;
        if !released.is_empty() {
            tracing::warn!(
                jobs = released.len(),
                "released jobs whose claim was answered into a lost connection"
            );
        }
        Ok(())
    }

    async fn flush(&mut self) -> Result<(), Error> {
        let Some(rows) = self.engine.with_tally(super::tally::Tally::changes) else {
            return Ok(());
        };
        let stored: Result<Vec<i64>, Error> = self.link.load(FlushStats { rows: &rows }).await;
        match stored {
            Ok(_) => self.engine.with_tally(super::tally::Tally::stored),
            Err(error) => {
                self.engine.with_tally(super::tally::Tally::keep);
                return Err(error);
            }
        }
        Ok(())
    }
}
