//! What a job's row becomes when a run has ended. Policy only: no clock, no database.

use std::time::Duration;

use serde_json::{Value, json};

use crate::backoff;
use crate::context::Run;
use crate::outcome::{Ending, Failure};
use crate::state::JobState;

/// What the row becomes.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Move {
    pub(crate) state: JobState,
    pub(crate) delay: Option<Duration>,
    pub(crate) refund: i32,
    pub(crate) error: Option<Value>,
    pub(crate) output: Option<Value>,
}

impl Ending {
    /// Decides what the row becomes. `backoff`: the job's own wait after this attempt, if it has one.
    pub(crate) fn into_move(
        self,
        run: &Run,
        base_wait: Duration,
        own_backoff: Option<Duration>,
    ) -> Move {
        let next = Move {
            state: JobState::Pending,
            delay: None,
            refund: 0,
            error: None,
            output: None,
        };
        let error = |failure: &Failure| {
            Some(json!({"attempt": run.attempt, "kind": failure.kind, "message": failure.message}))
        };
        let exhausted = run.attempt > run.max_retries;
        match self {
            Self::Completed(output) => Move {
                state: JobState::Completed,
                output,
                ..next
            },
            Self::Snoozed(wait) => Move {
                delay: Some(wait),
                refund: 1,
                ..next
            },
            Self::Released => Move { refund: 1, ..next },
            Self::Cancelled(reason) => Move {
                state: JobState::Cancelled,
                error: error(&Failure::new("cancelled", &reason)),
                ..next
            },
            Self::Dead(failure) => Move {
                state: JobState::Dead,
                error: error(&failure),
                ..next
            },
            Self::Failed(failure) if exhausted => Move {
                state: JobState::Dead,
                error: error(&failure),
                ..next
            },
            Self::Failed(failure) => {
                let wait =
                    own_backoff.unwrap_or_else(|| backoff::exponential(base_wait, run.attempt));
                let wait = backoff::with_jitter(wait, fastrand::f64());
                Move {
                    delay: Some(wait),
                    error: error(&failure),
                    ..next
                }
            }
            Self::RetryAfter(wait, cause) => {
                let error = error(&Failure::new("error", &cause));
                let state = if exhausted {
                    JobState::Dead
                } else {
                    JobState::Pending
                };
                Move {
                    state,
                    delay: (!exhausted).then_some(wait),
                    error,
                    ..next
                }
            }
        }
    }
}
