//! Rules of workers: what they may claim, when they may be robbed, and that a run begins once.

use std::collections::HashMap;

use pgqueue_suite::chaos::{BATCH, QUEUES};

use super::{Findings, Rule};
use crate::history::{Change, History};

/// One claim may come with another for a job that has lost a process.
const SUSPECTS: usize = 1;
/// What a worker that claims ahead may have beside its slots: four times its batch.
const AHEAD: usize = 4 * BATCH;

pub(super) fn check(history: &History, findings: &mut Findings) {
    check_claims_fit(history, findings);
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
    }
}

/// Only a worker whose lease has run out, or that has left, loses its jobs.
fn check_lease(history: &History, job: i64, change: &Change, findings: &mut Findings) {
    let owner = change.owner.unwrap_or_default();
    let leases = history.leases.get(&owner).map_or(&[][..], Vec::as_slice);
    let over = leases
        .iter()
        .find(|lease| lease.is_over && lease.at <= change.at);
    let is_right = over.is_some_and(|lease| lease.by_itself || lease.expires_at < lease.at);
    if !is_right {
        let what = format!(
            "job {job} was taken from worker {owner}, whose lease was {:?}: {change:?}",
            leases.last()
        );
        findings.add(Rule::LeaseRespected, what);
    }
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
        let slots = QUEUES.iter().find(|(name, _)| *name == queue);
        let slots = slots.map_or(0, |(_, slots)| *slots);
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
