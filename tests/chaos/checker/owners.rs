//! Rules of workers: what they may claim, when they may be robbed, and that a run begins once.

use std::collections::HashMap;

use pgqueue_suite::chaos::{BATCH, QUEUES};
use pgqueue_suite::proxy::statements::COMPLETE;

use super::{Findings, Rule};
use crate::history::{Change, History};

/// One claim may come with another for a job that has lost a process.
const SUSPECTS: usize = 1;
/// What a worker that claims ahead may have beside its slots: four times its batch.
const AHEAD: usize = 4 * BATCH;

pub(super) fn check(history: &History, findings: &mut Findings) {
    check_claims_fit(history, findings);
    check_runs_at_once(history, findings);
    for (job, changes) in &history.jobs {
        for change in changes {
            if change.failure.as_deref() == Some("lost") {
                check_lease(history, *job, change, findings);
            }
        }
    }
    for ((job, token), began) in &history.began {
        if began.len() > 1 {
            let what = format!("run {token} of job {job} began {} times", began.len());
            findings.add(Rule::RunBeginsOnce, what);
        }
        check_one_at_a_time(history, *job, *token, began[0].at, findings);
    }
}

/// Only a worker whose lease has run out, or that has left, loses its jobs.
fn check_lease(history: &History, job: i64, change: &Change, findings: &mut Findings) {
    let owner = change.owner.unwrap_or_default();
    if !history.has_lost_lease(owner, change.at) {
        let lease = history.leases.get(&owner).and_then(|leases| leases.last());
        let what = format!(
            "job {job} was taken from worker {owner}, whose lease was {lease:?}: {change:?}"
        );
        findings.add(Rule::LeaseRespected, what);
    }
}

/// A run that begins while the handler of the one before it is still there was taken from a worker without a lease; or the run before it
/// has completed its job in its own transaction, and its handler is about to return.
fn check_one_at_a_time(history: &History, job: i64, token: i64, at: i64, findings: &mut Findings) {
    let before = token - 1;
    let left = history.left.get(&(job, before));
    if left.is_none_or(|left| *left <= at) {
        return;
    }
    let changes = history.jobs.get(&job).map_or(&[][..], Vec::as_slice);
    let mut ends = changes
        .iter()
        .filter(|change| change.token.0 == before && change.before.as_deref() == Some("running"));
    let is_right = ends.any(|end| {
        end.statement.starts_with(COMPLETE)
            || end
                .owner
                .is_some_and(|owner| history.has_lost_lease(owner, end.at))
    });
    if !is_right {
        let what = format!("run {token} of job {job} began before run {before} had left");
        findings.add(Rule::OneRunAtATime, what);
    }
}

/// Counts how many handlers of each queue a worker had at once.
fn check_runs_at_once(history: &History, findings: &mut Findings) {
    let mut steps: HashMap<(i64, &str), Vec<(i64, i64)>> = HashMap::new();
    for (job, changes) in &history.jobs {
        for claim in changes
            .iter()
            .filter(|change| change.is("pending", "running"))
        {
            let run = (*job, claim.token.1);
            let (Some(owner), Some(began)) = (claim.owner, history.began.get(&run)) else {
                continue;
            };
            let steps = steps.entry((owner, &claim.queue)).or_default();
            steps.push((began[0].at, 1));
            // One that never leaves is with its process to the end.
            if let Some(left) = history.left.get(&run) {
                steps.push((*left, -1));
            }
        }
    }
    for ((owner, queue), mut steps) in steps {
        steps.sort_unstable();
        let mut now = 0;
        let most = steps.iter().map(|(_, step)| {
            now += step;
            now
        });
        let most = usize::try_from(most.max().unwrap_or_default()).unwrap_or_default();
        let slots = slots_of(queue);
        if most > slots {
            let what = format!(
                "worker {owner} ran {most} jobs of {queue} at once, which has {slots} slots"
            );
            findings.add(Rule::FitsSlots, what);
        }
    }
}

fn slots_of(queue: &str) -> usize {
    let slots = QUEUES.iter().find(|(name, _)| *name == queue);
    slots.map_or(0, |(_, slots)| *slots)
}

/// Counts what each claim took of a queue.
fn check_claims_fit(history: &History, findings: &mut Findings) {
    let mut claims: HashMap<(i64, i64, &str), usize> = HashMap::new();
    for change in history.jobs.values().flatten() {
        if let (true, Some(owner), Some(batch)) =
            (change.is("pending", "running"), change.owner, change.batch)
        {
            *claims.entry((owner, batch, &change.queue)).or_default() += 1;
        }
    }
    for ((owner, batch, queue), count) in claims {
        let slots = slots_of(queue);
        let ahead = if history.prefetching.contains(&owner) {
            AHEAD
        } else {
            0
        };
        if count > slots + SUSPECTS + ahead {
            let what = format!(
                "claim {batch} of worker {owner} took {count} jobs of {queue}, which has {slots} slots"
            );
            findings.add(Rule::ClaimFits, what);
        }
    }
}

/// Every run that a handler began was claimed.
pub(super) fn check_begins_were_claimed(history: &History, findings: &mut Findings) {
    for (job, token) in history.began.keys() {
        let changes = history.jobs.get(job).map_or(&[][..], Vec::as_slice);
        let claimed = changes
            .iter()
            .any(|change| change.is("pending", "running") && change.token.1 == *token);
        if !claimed {
            let what = format!("run {token} of job {job} began, and was never claimed");
            findings.add(Rule::RunBeginsOnce, what);
        }
    }
}
