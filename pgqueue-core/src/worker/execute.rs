//! One run from its claim to its end: start the handler, watch its deadline and its stop signal, hand the end over.
//!
//! The invariant: every job that was claimed hands over exactly one end, whatever the handler does, started or not. A slot is
//! held until then; that of a blocking handler that cannot be stopped, until its thread is free.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use diesel::Queryable;
use diesel::pg::data_types::PgTimestamp;
use serde_json::Value;
use tokio::task::JoinError;
use tracing::Instrument;

use super::cursor::Place;
use super::ends::Finish;
use super::engine::Engine;
use super::flights::{Stop, StopReason};
use super::registry::Started;
use super::slots::{Slot, Unstored};
use super::waiting::Waiting;
use crate::context::Run;
use crate::model::Document;
use crate::outcome::{Ending, Failure};

/// How long an aborted handler may take to reach its next await, or a blocking one to ask whether it is to stop.
const ABORT_WAIT: Duration = Duration::from_secs(1);

/// A claimed row.
#[derive(Debug, Queryable)]
pub(crate) struct Claimed {
    pub(crate) id: i64,
    pub(crate) fencing_token: i64,
    pub(crate) queue: String,
    pub(crate) kind: String,
    pub(crate) payload: Document,
    pub(crate) metadata: Option<Document>,
    pub(crate) priority: i16,
    pub(crate) run_at: PgTimestamp,
    pub(crate) attempt: i32,
    pub(crate) max_retries: i32,
    pub(crate) created_at: DateTime<Utc>,
    pub(crate) deadline_at: Option<PgTimestamp>,
    pub(crate) now: PgTimestamp,
    /// How many jobs the claim visited.
    pub(crate) visited: i64,
}

impl Claimed {
    pub(super) fn place(&self) -> Place {
        Place {
            priority: usize::try_from(self.priority).unwrap_or(0),
            run_at: self.run_at.0,
            id: self.id,
        }
    }

    /// Splits it into the run and its payload, or the end of a run that cannot read it. Lengths are differences of the
    /// database's times, so that only its clock matters.
    pub(crate) fn into_run(
        self,
        stop: tokio_util::sync::CancellationToken,
        keeps_completed: bool,
    ) -> (Run, Result<Value, Ending>) {
        let started = Instant::now();
        let metadata = self.metadata.map(|document| read("metadata", document));
        let payload = read("payload", self.payload);
        let (metadata, payload) = match metadata.transpose() {
            Ok(metadata) => (metadata, payload),
            Err(dead) => (None, Err(dead)),
        };
        let run = Run {
            id: self.id,
            fencing_token: self.fencing_token,
            queue: self.queue,
            kind: self.kind,
            metadata,
            attempt: self.attempt,
            max_retries: self.max_retries,
            created_at: self.created_at,
            waited: microseconds(self.now.0.saturating_sub(self.run_at.0)),
            deadline: self
                .deadline_at
                .map(|at| started + microseconds(at.0.saturating_sub(self.now.0))),
            started,
            stop,
            connections: None,
            keeps_completed,
            complete_in_called: AtomicBool::new(false),
        };
        (run, payload)
    }
}

fn read(column: &str, document: Document) -> Result<Value, Ending> {
    document.read().map_err(|cause| {
        let message = format!("the job's {column} cannot be read: {cause}");
        Ending::Dead(Failure::new("payload", &message))
    })
}

fn microseconds(length: i64) -> Duration {
    Duration::from_micros(u64::try_from(length).unwrap_or(0))
}

/// Starts as many of the jobs that wait as there are slots; none any more while the worker stops.
pub(super) fn start_waiting(engine: &Arc<Engine>) {
    while engine.is_running()
        && let Some((job, slot)) = engine.slots.next()
    {
        start(engine, job, slot);
    }
}

/// Releases the jobs that have waited since before this time: they are pending again, at no cost of theirs. Answers the
/// lane of each.
pub(super) fn give_back(engine: &Engine, before: Instant) -> Vec<usize> {
    let late = engine.slots.waiting_since(before);
    let lanes = late.iter().map(|(_, unstored)| unstored.lane()).collect();
    for (job, unstored) in late {
        let (run, _, stop) = job.into_run(engine);
        send(engine, &Arc::new(run), not_begun(&stop), Some(unstored));
    }
    lanes
}

/// Gives the end of a job that was told to stop, or had to be given back, before its run began.
fn not_begun(stop: &Stop) -> Ending {
    match stop.reason() {
        Some(StopReason::Cancelled) => Ending::Cancelled("cancelled before it began".to_owned()),
        _ => Ending::Released,
    }
}

/// Starts the run of a claimed job in a task of its own.
pub(super) fn start(engine: &Arc<Engine>, job: Waiting, slot: Slot) {
    let (run, payload, stop) = job.into_run(engine);
    let span = tracing::info_span!(
        "job",
        job.id = run.id,
        kind = run.kind.as_str(),
        queue = run.queue.as_str(),
        attempt = run.attempt
    );
    let engine = Arc::clone(engine);
    tokio::spawn(supervise(engine, Arc::new(run), payload, stop, slot).instrument(span));
}

async fn supervise(
    engine: Arc<Engine>,
    run: Arc<Run>,
    payload: Result<Value, Ending>,
    stop: Stop,
    slot: Slot,
) {
    if stop.reason().is_some() {
        return hand_over(&engine, &run, not_begun(&stop), slot);
    }
    let payload = match payload {
        Ok(payload) => payload,
        Err(dead) => return hand_over(&engine, &run, dead, slot),
    };
    let Some(handler) = engine.registry.get(&run.kind) else {
        // Cannot happen: a claim names the kinds. Should it, the job goes to whoever knows it.
        return hand_over(&engine, &run, Ending::Released, slot);
    };
    let mut started = handler.start(payload, Arc::clone(&run));
    if let Some(ending) = watch(&mut started, &run, &stop).await {
        return hand_over(&engine, &run, ended(ending, &stop), slot);
    }
    // Told to stop: it may do so by itself within the wait.
    let wait = match stop.reason() {
        Some(StopReason::Shutdown) if started.abortable => Duration::ZERO,
        Some(StopReason::Shutdown) => ABORT_WAIT, // until it asks whether it is to stop
        _ => engine.config.stop_wait(),
    };
    if let Ok(ending) = tokio::time::timeout(wait, &mut started.task).await {
        return hand_over(&engine, &run, ended(ending, &stop), slot);
    }
    if started.abortable {
        started.task.abort();
        match tokio::time::timeout(ABORT_WAIT, &mut started.task).await {
            Ok(Err(error)) if error.is_cancelled() => {
                return hand_over(&engine, &run, stopped(&stop, &run), slot);
            }
            Ok(ending) => return hand_over(&engine, &run, ended(ending, &stop), slot),
            Err(_) => {} // it blocks its thread and cannot be aborted
        }
    }
    tracing::warn!(
        waited_ms = wait.as_millis(),
        "a handler that blocks its thread did not stop when told to; its run is ended, its thread and its slot stay taken until it returns"
    );
    send(&engine, &run, stopped(&stop, &run), None);
    let _late = started.task.await; // its end is of no use any more: the job is ended
    tracing::info!(
        duration_ms = run.started.elapsed().as_millis(),
        "the handler that did not stop has returned"
    );
    drop(slot);
    start_waiting(&engine);
}

/// Waits for the end of the run, its deadline or its stop signal, whichever is first; `None`: it has been told to stop.
async fn watch(started: &mut Started, run: &Run, stop: &Stop) -> Option<Result<Ending, JoinError>> {
    let deadline = async {
        match run.deadline {
            Some(at) => tokio::time::sleep_until(at.into()).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        biased;
        ending = &mut started.task => return Some(ending),
        () = stop.token.cancelled() => {}
        () = deadline => stop.fire(StopReason::Deadline),
    }
    None
}

/// Reads the end of a handler's task.
fn ended(ending: Result<Ending, JoinError>, stop: &Stop) -> Ending {
    let ending = match ending {
        Ok(ending) => ending,
        Err(error) => Ending::Failed(Failure::new("panic", &panic_message(error))),
    };
    match (stop.reason(), ending) {
        // Somebody asked for it, so it is cancelled, however the handler left.
        (Some(StopReason::Cancelled), _) => Ending::Cancelled("cancelled while it ran".to_owned()),
        // An error after the worker's stop signal is the signal's fault.
        (Some(StopReason::Shutdown), Ending::Failed(_)) => Ending::Released,
        (Some(StopReason::Deadline), Ending::Failed(failure)) => Ending::Failed(Failure::new(
            "timeout",
            &format!("stopped at its deadline: {}", failure.message),
        )),
        (_, ending) => ending,
    }
}

/// Gives the end of a run that had to be stopped.
fn stopped(stop: &Stop, run: &Run) -> Ending {
    match stop.reason() {
        Some(StopReason::Cancelled) => Ending::Cancelled("cancelled while it ran".to_owned()),
        Some(StopReason::Deadline) => {
            let timeout = run
                .deadline
                .map_or(Duration::ZERO, |at| at.duration_since(run.started));
            Ending::Failed(Failure::new(
                "timeout",
                &format!("ran longer than its timeout of {timeout:?}"),
            ))
        }
        Some(StopReason::LeaseLost | StopReason::Shutdown) | None => Ending::Released,
    }
}

/// Gives the text of a panic, or says that it has none.
pub(crate) fn panic_message(error: JoinError) -> String {
    let Ok(panic) = error.try_into_panic() else {
        return "the handler's task was stopped by the runtime".to_owned();
    };
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
    let message = format!(
        "panicked: {}",
        text.as_deref().unwrap_or("with a value that is no text")
    );
    std::mem::forget(panic); // its drop may panic, too, and this task has an end to hand over
    message
}

/// Hands over the end of a run, and gives its slot to the next job that waits.
fn hand_over(engine: &Arc<Engine>, run: &Arc<Run>, ending: Ending, slot: Slot) {
    let unstored = slot.end(run.started.elapsed());
    send(engine, run, ending, Some(unstored));
    start_waiting(engine);
}

fn send(engine: &Engine, run: &Arc<Run>, ending: Ending, unstored: Option<Unstored>) {
    // Fails only when the finish loop is gone, which outlives every run it waits for; then the rescue takes the job.
    let _gone = engine
        .finished
        .send(Finish::new(Arc::clone(run), ending, unstored));
}
