//! What follows once the database has answered for a run's end: count it, log it, give its slot back.

use chrono::{DateTime, Utc};

use super::engine::Engine;
use super::finish::Finish;
use super::tally::{Count, Ended};
use crate::outcome::Ending;
use crate::state::JobState;

/// Counts and logs a run whose end is stored, and gives its slot back.
pub(super) fn conclude(engine: &Engine, finish: &mut Finish, state: JobState, now: DateTime<Utc>) {
    let run = &finish.run;
    let ended = match (&finish.ending, state) {
        (_, JobState::Completed) => Some(Ended::Completed),
        (_, JobState::Cancelled) => Some(Ended::Cancelled),
        (Ending::Snoozed(_), _) => Some(Ended::Snoozed),
        (Ending::Released, _) => None,
        (_, now) => Some(Ended::Failed { now }),
    };
    if let Some(ended) = ended {
        let count = Count {
            queue: &run.queue,
            kind: &run.kind,
            ended,
            run: finish.run_time,
            waited: run.waited,
        };
        engine.with_tally(|tally| tally.count(now, &count));
    }
    log(finish, state);
    forget(engine, finish);
}

fn log(finish: &Finish, state: JobState) {
    let run = &finish.run;
    let duration_ms = finish.run_time.as_millis();
    let (id, kind, queue, attempt) = (run.id, run.kind.as_str(), run.queue.as_str(), run.attempt);
    match (&finish.ending, state) {
        (Ending::Failed(failure) | Ending::Dead(failure), JobState::Completed) => tracing::warn!(
            job.id = id,
            kind,
            queue,
            attempt,
            duration_ms,
            error = failure.message.as_str(),
            "the handler failed after complete_in had committed; the job stays completed"
        ),
        (Ending::Failed(failure) | Ending::Dead(failure), JobState::Dead) => tracing::error!(
            job.id = id,
            kind,
            queue,
            attempt,
            duration_ms,
            error = failure.message.as_str(),
            "job is dead"
        ),
        (Ending::Failed(failure), _) => tracing::warn!(
            job.id = id,
            kind,
            queue,
            attempt,
            duration_ms,
            error = failure.message.as_str(),
            "job failed; it will be retried"
        ),
        (Ending::RetryAfter(_, cause), _) => tracing::warn!(
            job.id = id,
            kind,
            queue,
            attempt,
            duration_ms,
            error = cause.as_str(),
            state = state.name(),
            "job failed"
        ),
        _ => tracing::debug!(
            job.id = id,
            kind,
            queue,
            attempt,
            duration_ms,
            state = state.name(),
            "run ended"
        ),
    }
}

pub(super) fn lease_lost(engine: &Engine, finish: &mut Finish) {
    let run = &finish.run;
    tracing::warn!(
        job.id = run.id,
        kind = run.kind.as_str(),
        queue = run.queue.as_str(),
        attempt = run.attempt,
        fencing_token = run.fencing_token,
        "the run had lost its lease when it ended; its end changed nothing"
    );
    forget(engine, finish);
}

fn forget(engine: &Engine, finish: &mut Finish) {
    engine
        .flights
        .remove((finish.run.id, finish.run.fencing_token));
    finish.slot = None;
}
