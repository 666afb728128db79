//! Judges a run by its evidence: what must never have happened, and what must have happened once the run has drained.
//!
//! Rules of the history are functions from it to violations, and [`tests`] breaks each of them by hand; `watch.rs` sees while the run
//! goes on what leaves no trace. A rule that nothing can break proves nothing: `bugs.rs` runs broken queues.

mod effects;
mod enqueues;
mod lives;
mod owners;
#[cfg(test)]
mod tests;

use std::fmt;

use crate::history::History;

/// Something that must not be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Violation {
    pub(crate) rule: Rule,
    pub(crate) what: String,
}

/// What must hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Rule {
    /// A committed job exists, and ends; a completed one has run.
    CommittedRuns,
    /// A job that was rolled back never is; one whose commit is unknown is, with its transaction, or is not; none is twice.
    AtomicEnqueue,
    /// A job completes once between two requeues.
    CompletesOnce,
    /// An effect in the transaction of the completion happens exactly when the job completes.
    EffectOnce,
    /// A claim raises the fencing token by one; nothing else changes it.
    TokenByOne,
    /// A run is ended only by the handler that ran it.
    OwnEnd,
    /// A job is dead only when its retries are used up, or its processes, or when its handler said so.
    DeadForReason,
    /// At most one pending or running job has a unique key.
    UniqueKey,
    /// Attempts are claims less releases.
    AttemptsAreClaims,
    /// A job counts the processes that it lost.
    LossesAreCounted,
    /// No job is running for a worker that is gone.
    RunningHasOwner,
    /// A job is taken from a worker only when its lease has run out.
    LeaseRespected,
    /// A claim takes at most what the worker has room for.
    ClaimFits,
    /// Only these moves from state to state happen.
    LegalMoves,
    /// A run begins once, in the handler of the worker that claimed it.
    RunBeginsOnce,
    /// No session of the engine sits idle in a transaction.
    NoIdleTransaction,
    /// After the faults all jobs come to an end.
    Drains,
    /// A worker that waits is woken.
    WakesUp,
    /// No worker runs more jobs of a queue at once than the queue has slots.
    FitsSlots,
    /// A run begins when the one before it has ended, or was taken from a worker that had lost its lease.
    OneRunAtATime,
    /// What producers and operators ask for is done, unless the connection is gone.
    NoErrors,
    /// The faults strike, the jobs come and go, and somebody looks.
    GoesOn,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.rule, self.what)
    }
}

/// The violations that were found so far.
#[derive(Debug, Default)]
pub(crate) struct Findings(Vec<Violation>);

impl Findings {
    pub(crate) fn add(&mut self, rule: Rule, what: impl Into<String>) {
        let what = what.into();
        self.0.push(Violation { rule, what });
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn into_violations(self) -> Vec<Violation> {
        self.0
    }
}

/// Whether the run is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Moment {
    /// It goes on: what is still to come is no violation.
    Underway,
    /// All faults are over, and no job waits or runs.
    Drained,
}

/// Judges a history.
pub(crate) fn check(history: &History, moment: Moment) -> Vec<Violation> {
    let mut findings = Findings::default();
    for (id, changes) in &history.jobs {
        lives::check(history, *id, changes, &mut findings);
        effects::check(history, *id, changes, &mut findings);
    }
    enqueues::check(history, moment, &mut findings);
    owners::check(history, &mut findings);
    for error in &history.refused {
        findings.add(Rule::NoErrors, format!("a producer: {error}"));
    }
    if moment == Moment::Drained {
        lives::check_all_ended(history, &mut findings);
        owners::check_begins_were_claimed(history, &mut findings);
    }
    findings.into_violations()
}
