//! A row of `pgqueue_jobs`, and what each statement does to it: the `SET` clauses of the files in `pgqueue-core/src/sql`.

use super::WorkerId;
use super::process::Run;
use super::rules::{Fence, Rules};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum State {
    Pending,
    Running,
    Completed,
    Cancelled,
    Dead,
    /// Purged: there is no row any more.
    Gone,
}

/// How a run ended; `next_move.rs` says what becomes of its row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Ending {
    Completed,
    Failed,
    /// Its job has a wait of an hour.
    FailedForLater,
    Snoozed,
    /// The handler said so.
    Dead,
    Cancelled,
    Released,
}

/// What stands in `errors`, with the attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    Error,
    Cancelled,
    Lost,
}

/// What `finish.sql` is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Move {
    pub(crate) state: State,
    pub(crate) delay: Delay,
    pub(crate) refund: i8,
    pub(crate) error: Option<Kind>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Delay {
    /// `run_at` stays.
    Keep,
    None,
    Hour,
}

/// What has truly happened to a job since it was enqueued or requeued. No row knows it; the audit writes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) struct Past {
    /// Claims less releases.
    pub(crate) runs: i8,
    /// Ends of the newest run that were accepted.
    pub(crate) ends: u8,
    /// Effects of `complete_in` that were committed.
    pub(crate) effects: u8,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Job {
    pub(crate) state: State,
    pub(crate) attempt: i8,
    pub(crate) max_retries: i8,
    pub(crate) lost: u8,
    pub(crate) token: u8,
    pub(crate) claimed_by: Option<WorkerId>,
    pub(crate) claim_batch: Option<u8>,
    pub(crate) is_cancel_requested: bool,
    pub(crate) key: Option<u8>,
    pub(crate) priority: u8,
    /// Since when it may run; `None`: not within the hour.
    pub(crate) due: Option<u16>,
    pub(crate) errors: Vec<(i8, Kind)>,
    /// The process whose transaction has completed it and is still open.
    pub(crate) locked_by: Option<u8>,
    pub(crate) past: Past,
}

impl Job {
    pub(crate) fn new(max_retries: i8) -> Self {
        Self {
            state: State::Pending,
            attempt: 0,
            max_retries,
            lost: 0,
            token: 0,
            claimed_by: None,
            claim_batch: None,
            is_cancel_requested: false,
            key: None,
            priority: 5,
            due: Some(0),
            errors: Vec::new(),
            locked_by: None,
            past: Past::default(),
        }
    }

    /// May be claimed, apart from whether it has lost a process.
    pub(crate) fn is_claimable(&self) -> bool {
        self.state == State::Pending && self.due.is_some() && self.locked_by.is_none()
    }

    /// No retry is left: `is_last_chance` of `claim.sql`.
    pub(crate) fn is_last_chance(&self) -> bool {
        self.attempt >= self.max_retries
    }

    /// `claim.sql` and `claim_suspect.sql`.
    pub(crate) fn claim(&mut self, worker: WorkerId, batch: u8) {
        self.state = State::Running;
        self.attempt += 1;
        self.token += 1;
        self.claimed_by = Some(worker);
        self.claim_batch = Some(batch);
    }

    /// The `WHERE` of `finish.sql` and `complete_in.sql`.
    pub(crate) fn is_run_by(&self, run: &Run, fence: Fence, rules: &Rules) -> bool {
        let shows = match fence {
            Fence::Token => self.token == run.token,
            Fence::Attempt => self.attempt == run.attempt,
            Fence::None => true,
        };
        let is_held = self.claimed_by.is_some() || !rules.ends_once;
        self.state != State::Gone && is_held && shows
    }

    /// `finish.sql`.
    pub(crate) fn finish(&mut self, run: &Run, ending: Ending, clock: u16, rules: &Rules) {
        let next = ending.next_move(run.attempt, self.max_retries);
        let is_pending = next.state == State::Pending;
        self.state = if is_pending && self.is_cancel_requested {
            State::Cancelled
        } else {
            next.state
        };
        match next.delay {
            Delay::None if is_pending => self.due = Some(clock),
            Delay::Hour if is_pending => self.due = None,
            _ => {}
        }
        if rules.refunds {
            self.attempt -= next.refund;
        }
        self.disown();
        if let Some(kind) = next.error {
            self.note(run.attempt, kind);
        }
    }

    /// `complete_in.sql`, as its transaction commits.
    pub(crate) fn complete(&mut self) {
        self.state = State::Completed;
        self.locked_by = None;
        self.disown();
    }

    /// `rescue.sql`.
    pub(crate) fn rescue(&mut self, clock: u16, rules: &Rules) {
        let losses = self.lost + u8::from(!rules.forgives_a_loss);
        self.state = if self.is_cancel_requested {
            State::Cancelled
        } else if self.attempt > self.max_retries || losses >= rules.max_lost {
            State::Dead
        } else {
            State::Pending
        };
        self.due = Some(clock);
        self.lost += 1;
        self.disown();
        self.note(self.attempt, Kind::Lost);
    }

    /// `reconcile.sql`.
    pub(crate) fn release_forgotten(&mut self) {
        self.state = if self.is_cancel_requested {
            State::Cancelled
        } else {
            State::Pending
        };
        self.attempt -= 1;
        self.disown();
    }

    /// The cancel of `admin/verb.rs`.
    pub(crate) fn cancel(&mut self) {
        match self.state {
            State::Pending => {
                self.state = State::Cancelled;
                self.is_cancel_requested = false;
            }
            _ => self.is_cancel_requested = true,
        }
    }

    /// The function `pgqueue_requeue`.
    pub(crate) fn requeue(&mut self, clock: u16, rules: &Rules) {
        if !rules.keeps_tokens {
            self.token = 0;
        }
        self.state = State::Pending;
        self.due = Some(clock);
        self.attempt = 0;
        self.lost = 0;
        self.is_cancel_requested = false;
    }

    fn disown(&mut self) {
        self.claimed_by = None;
        self.claim_batch = None;
    }

    /// The newest ten stay.
    fn note(&mut self, attempt: i8, kind: Kind) {
        if self.errors.len() >= 10 {
            self.errors.remove(0);
        }
        self.errors.push((attempt, kind));
    }
}

impl Ending {
    /// `next_move.rs`.
    pub(crate) fn next_move(self, attempt: i8, max_retries: i8) -> Move {
        let is_exhausted = attempt > max_retries;
        let (state, delay, refund, error) = match self {
            Self::Completed => (State::Completed, Delay::Keep, 0, None),
            Self::Snoozed => (State::Pending, Delay::Hour, 1, None),
            Self::Released => (State::Pending, Delay::Keep, 1, None),
            Self::Cancelled => (State::Cancelled, Delay::Keep, 0, Some(Kind::Cancelled)),
            Self::Dead => (State::Dead, Delay::Keep, 0, Some(Kind::Error)),
            Self::Failed | Self::FailedForLater if is_exhausted => {
                (State::Dead, Delay::Keep, 0, Some(Kind::Error))
            }
            Self::Failed => (State::Pending, Delay::None, 0, Some(Kind::Error)),
            Self::FailedForLater => (State::Pending, Delay::Hour, 0, Some(Kind::Error)),
        };
        Move {
            state,
            delay,
            refund,
            error,
        }
    }

    /// Gives the attempt back.
    pub(crate) fn is_unburnt(self) -> bool {
        matches!(self, Self::Snoozed | Self::Released)
    }
}
