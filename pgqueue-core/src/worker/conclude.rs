//! What follows once the database has answered for a run's end: count it, log it, make room for another.

use chrono::{DateTime, Utc};

use super::ends::Finish;
use super::engine::Engine;
use super::tally::{Count, Ended};
use crate::outcome::Ending;
use crate::state::JobState;

/// Counts and logs a run whose end is stored, and makes room for another.
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

/// Logs the end of a run with the fields that every such event has. They do not come from the run's span: a filter that
/// hides the span must not hide which job it was.
macro_rules! log_end {
    ($level:ident, $finish:expr, $($event:tt)+) => {
        tracing::$level!(
            job.id = $finish.run.id,
            kind = $finish.run.kind.as_str(),
            queue = $finish.run.queue.as_str(),
            attempt = $finish.run.attempt,
            fencing_token = $finish.run.fencing_token,
            duration_ms = $finish.run_time.as_millis(),
            $($event)+
        )
    };
}

fn log(finish: &Finish, state: JobState) {
    match (&finish.ending, state) {
        (Ending::Failed(failure) | Ending::Dead(failure), JobState::Completed) => log_end!(
            warn,
            finish,
            error = failure.message.as_str(),
            "the handler failed after complete_in had committed; the job stays completed"
        ),
        (Ending::Failed(failure) | Ending::Dead(failure), JobState::Dead) => {
            log_end!(
                error,
                finish,
                error = failure.message.as_str(),
                "job is dead"
            );
        }
        (Ending::Failed(failure), _) => log_end!(
            warn,
            finish,
            error = failure.message.as_str(),
            "job failed; it will be retried"
        ),
        (Ending::RetryAfter(_, cause), JobState::Dead) => {
            log_end!(error, finish, error = cause.as_str(), "job is dead");
        }
        (Ending::RetryAfter(_, cause), _) => log_end!(
            warn,
            finish,
            error = cause.as_str(),
            state = state.name(),
            "job failed"
        ),
        _ => log_end!(debug, finish, state = state.name(), "run ended"),
    }
}

/// Counts and logs a run that was not the current one any more when it ended, and makes room for another.
pub(super) fn lease_lost(engine: &Engine, finish: &mut Finish, now: DateTime<Utc>) {
    let run = &finish.run;
    engine.with_tally(|tally| tally.count_lease_lost(now, &run.queue, &run.kind));
    log_end!(
        warn,
        finish,
        "the run had lost its lease when it ended; its end changed nothing"
    );
    forget(engine, finish);
}

fn forget(engine: &Engine, finish: &mut Finish) {
    engine
        .flights
        .remove((finish.run.id, finish.run.fencing_token));
    finish.unstored = None;
}
