//! Rules of one job's life: each move, the counters that go with it, and who may make it.

use pgqueue_suite::chaos::MAX_LOST;
use pgqueue_suite::chaos::evidence::How;
use pgqueue_suite::proxy::statements::RECONCILE;

use super::{Findings, Rule};
use crate::history::{Change, History};

const TERMINAL: [&str; 3] = ["completed", "cancelled", "dead"];
const ACTIVE: [&str; 2] = ["pending", "running"];

pub(super) fn check(history: &History, job: i64, changes: &[Change], findings: &mut Findings) {
    let mut completed = false;
    for (index, change) in changes.iter().enumerate() {
        let previous = index.checked_sub(1).map(|at| &changes[at]);
        let mut found = |rule, what: &str| {
            findings.add(rule, format!("job {job}: {what}: {change:?}"));
        };
        if let Some(previous) = previous
            && (
                &previous.after,
                previous.token.1,
                previous.attempt.1,
                previous.lost.1,
            ) != (
                &change.before,
                change.token.0,
                change.attempt.0,
                change.lost.0,
            )
        {
            found(Rule::LegalMoves, "the change before it left something else");
        }
        if !is_legal(change) {
            found(Rule::LegalMoves, "no such move");
        }
        let step = i64::from(change.is("pending", "running"));
        if change.token.1 - change.token.0 != step {
            found(Rule::TokenByOne, "the token");
        }
        if !is_attempt_right(change) {
            found(Rule::AttemptsAreClaims, "the attempt");
        }
        if !are_losses_right(change) {
            found(Rule::LossesAreCounted, "the losses");
        }
        if change.is("running", "completed") {
            if completed {
                found(Rule::CompletesOnce, "completed before");
            }
            completed = true;
        }
        completed &= change.after.as_deref() != Some("pending");
        if let Some(how) = must_have_ended(change)
            && !has_ended(history, job, changes, change, how)
        {
            found(Rule::OwnEnd, "no handler of this run had ended it so");
        }
        if !is_release_right(history, job, change) {
            found(Rule::OwnEnd, "a run that had begun was given back");
        }
        if !is_by_right(change) {
            found(Rule::LegalMoves, "no business of this statement");
        }
        if change.after.as_deref() == Some("dead") && !is_dead_for_reason(change) {
            found(Rule::DeadForReason, "the reason");
        }
    }
}

/// What is given back without a failure has not begun; or its handler snoozes, its process was told to end, or its worker has lost the
/// lease and gives up what it runs.
fn is_release_right(history: &History, job: i64, change: &Change) -> bool {
    if !change.is("running", "pending") || change.failure.is_some() {
        return true;
    }
    let has_begun = has_begun(history, job, change);
    let is_snoozed = ended_before(history, job, change).any(|how| how == How::Snoozed);
    let process = change.owner.and_then(|owner| history.processes.get(&owner));
    let is_told = process.is_some_and(|process| history.told_to_end.contains(process));
    let is_reconciled = change.statement.starts_with(RECONCILE);
    let has_lost = change
        .owner
        .is_some_and(|owner| history.has_lost_lease(owner, change.at));
    !has_begun || (!is_reconciled && (is_snoozed || is_told || has_lost))
}

/// Only operators cancel what waits, requeue, and delete what is dead. Their statements are the only ones without a comment.
fn is_by_right(change: &Change) -> bool {
    let is_operators = match (change.before.as_deref(), change.after.as_deref()) {
        (Some("pending"), Some("cancelled")) | (Some("dead"), None) => true,
        (Some(before), Some("pending")) => TERMINAL.contains(&before),
        _ => false,
    };
    !is_operators || change.statement.starts_with("WITH ")
}

/// Checks that a drained run has left nothing behind.
pub(super) fn check_all_ended(history: &History, findings: &mut Findings) {
    for (job, changes) in &history.jobs {
        let last = changes.last().and_then(|change| change.after.as_deref());
        if last.is_some_and(|state| ACTIVE.contains(&state)) {
            let what = format!("job {job} is still {last:?}: {:?}", changes.last());
            findings.add(Rule::CommittedRuns, what);
        }
    }
}

fn is_legal(change: &Change) -> bool {
    match (change.before.as_deref(), change.after.as_deref()) {
        (None, Some("pending")) => true,
        (Some("pending"), Some("running" | "cancelled")) => true,
        (Some("running"), Some("pending" | "completed" | "cancelled" | "dead")) => true,
        (Some(before), None | Some("pending")) => TERMINAL.contains(&before),
        _ => false,
    }
}

/// A claim adds one; what is given back without a failure takes it off again; a requeue begins anew.
fn is_attempt_right(change: &Change) -> bool {
    let (before, after) = change.attempt;
    match (change.before.as_deref(), change.after.as_deref()) {
        (Some("pending"), Some("running")) => after == before + 1,
        (Some("running"), Some("pending")) if change.failure.is_none() => after == before - 1,
        // Cancelled when its handler stopped, or when it was given back.
        (Some("running"), Some("cancelled")) => after == before || after == before - 1,
        (Some("completed" | "cancelled" | "dead"), Some("pending")) => after == 0,
        _ => after == before,
    }
}

/// Each loss of a process adds one; a requeue begins anew.
fn are_losses_right(change: &Change) -> bool {
    let (before, after) = change.lost;
    match (change.before.as_deref(), change.after.as_deref()) {
        (Some("completed" | "cancelled" | "dead"), Some("pending")) => after == 0,
        _ => after == before + i32::from(change.failure.as_deref() == Some("lost")),
    }
}

/// How a handler must have ended the run for this change; nothing where the engine, others or an operator may make it.
fn must_have_ended(change: &Change) -> Option<How> {
    if change.before.as_deref() != Some("running") {
        return None;
    }
    match (change.after.as_deref(), change.failure.as_deref()) {
        (Some("completed"), _) => Some(How::Done),
        // No job of a run has a timeout.
        (_, Some("panic" | "error" | "timeout")) => Some(How::Failed),
        (_, Some("handler")) => Some(How::Dead),
        _ => None,
    }
}

/// Is true when the handler of the run had ended it so before the change. An effect that cannot be written is a failure of a
/// handler that has only begun.
fn has_ended(history: &History, job: i64, changes: &[Change], change: &Change, how: How) -> bool {
    let act = changes.first().and_then(|insert| insert.act.as_deref());
    let is_effect = act.is_some_and(|act| act.contains("Effect"));
    ended_before(history, job, change).any(|ended| ended == how)
        || (how == How::Failed && is_effect && has_begun(history, job, change))
}

/// Gives how the handler of the run had ended it before the change: one machine's clock tells both times.
fn ended_before<'a>(
    history: &'a History,
    job: i64,
    change: &'a Change,
) -> impl Iterator<Item = How> + 'a {
    let ends = history.ends.get(&(job, change.token.0));
    let ends = ends.map_or(&[][..], Vec::as_slice).iter();
    ends.filter(|(at, _)| *at <= change.at).map(|(_, how)| *how)
}

fn has_begun(history: &History, job: i64, change: &Change) -> bool {
    let began = history.began.get(&(job, change.token.0));
    began.is_some_and(|began| began.iter().any(|began| began.at <= change.at))
}

fn is_dead_for_reason(change: &Change) -> bool {
    let used_up = change.attempt.1 > change.max_retries;
    match change.failure.as_deref() {
        Some("lost") => used_up || change.lost.0 >= MAX_LOST,
        Some("handler") => true,
        Some("error" | "panic") => used_up,
        _ => false,
    }
}
