//! Ends of runs against reapers that take the runs from them.

use super::acts::{
    Of, claim_suspect, complete, complete_in, expire_workers, finish_delete, look, lost, reconcile,
    rescue, rescue_overdue,
};
use super::acts::{claim, fail};
use super::hold::holds;
use super::outcome::Outcome;
use super::script::Role::{Claimer, Engine, Host};
use super::script::Step::{Commit, Rollback};
use super::script::{Part, Scenario, begin, part};
use super::statements::Statements;

/// Worker 1 has not renewed its lease, but goes on; worker 2 judges.
const DEPOSED: &str = "SELECT worker(1, '-1 s'), worker(2, '1 h'), job(1, 'running', 1)";

/// All that worker 2 does for the others.
fn reaper() -> Part {
    part(
        Engine,
        [
            lost().into(),
            expire_workers(2).into(),
            lost().into(),
            begin(rescue()),
            Commit,
        ],
    )
}

/// Either the end was accepted, or the reaper took the job; a reaper passes by what somebody holds.
fn ended_or_taken(outcome: &Outcome, ended: &str) -> Result<(), String> {
    let (accepted, losses) = (outcome.accepts((1, 1)), outcome.losses(1));
    let state = outcome.state(1);
    let holds = match (accepted, losses) {
        (true, 0) => state == ended,
        (false, 1) => state != "running" || outcome.claimed().len() == 1,
        _ => false,
    };
    if holds {
        return Ok(());
    }
    Err(format!(
        "accepted: {accepted}, taken {losses} times, and it is {state}"
    ))
}

pub(crate) fn zombie() -> Scenario {
    Scenario {
        name: "a worker ends its run while it is taken for dead",
        given: DEPOSED,
        parts: vec![
            part(Engine, [begin(complete(Of::This(1, 1))), Commit]),
            reaper(),
        ],
        holds: |outcome| ended_or_taken(outcome, "completed"),
        statements: Statements::default(),
    }
}

pub(crate) fn zombie_and_successor() -> Scenario {
    Scenario {
        name: "a dead worker ends its run while the job is taken and run again",
        given: "SELECT worker(2, '1 h'), job(1, 'running', 1)",
        parts: vec![
            part(Engine, [begin(complete(Of::This(1, 1))), Commit]),
            part(Engine, [lost().into(), rescue().into()]),
            part(Claimer, [claim_suspect(2).into(), fail(Of::Claimed).into()]),
        ],
        holds: |outcome| {
            let job = outcome.job(1).ok_or("it is gone")?;
            let completed = outcome.accepts((1, 1));
            if completed == job.is("completed") {
                return Ok(());
            }
            Err(format!(
                "completed by its current run: {completed}, but {job:?}"
            ))
        },
        statements: Statements::default(),
    }
}

fn zombie_that_deletes() -> Scenario {
    Scenario {
        name: "a worker ends its run by deleting the job while it is taken for dead",
        given: DEPOSED,
        parts: vec![
            part(Engine, [begin(finish_delete(Of::This(1, 1))), Commit]),
            reaper(),
        ],
        holds: |outcome| ended_or_taken(outcome, "gone"),
        statements: Statements::default(),
    }
}

fn host_transaction() -> Scenario {
    Scenario {
        name: "a handler completes in its transaction while its worker is taken for dead",
        given: DEPOSED,
        parts: vec![
            part(
                Host,
                [begin(look()), complete_in(Of::This(1, 1)).into(), Commit],
            ),
            reaper(),
        ],
        holds: |outcome| ended_or_taken(outcome, "completed"),
        statements: Statements::default(),
    }
}

fn host_transaction_undone() -> Scenario {
    Scenario {
        name: "a handler completes in a transaction that is rolled back while its worker is taken for dead",
        given: DEPOSED,
        parts: vec![
            part(Host, [begin(complete_in(Of::This(1, 1))), Rollback]),
            reaper(),
        ],
        holds: |outcome| match (outcome.state(1), outcome.losses(1)) {
            ("running", 0) | ("pending", 1) => Ok(()), // the first: it was held, and is taken at the next pass
            left => Err(format!("it was left as {left:?}")),
        },
        statements: Statements::default(),
    }
}

fn two_ends_of_one_run() -> Scenario {
    Scenario {
        name: "a handler completes in its transaction what its worker ends and a reaper finds overdue",
        given: "SELECT worker(1, '1 h'), job(1, 'running', 1)",
        parts: vec![
            part(Host, [begin(complete_in(Of::This(1, 1))), Commit]),
            part(Engine, [begin(complete(Of::This(1, 1))), Commit]),
            part(Engine, [begin(rescue_overdue()), Commit]),
        ],
        holds: |outcome| match (outcome.accepted().len(), outcome.state(1)) {
            (1, "completed") | (0, "pending") => Ok(()),
            left => Err(format!("so many ends accepted, and the state: {left:?}")),
        },
        statements: Statements::default(),
    }
}

fn lost_answer() -> Scenario {
    Scenario {
        name: "a worker releases what an unanswered claim took while it claims and another reaps",
        given: "SELECT worker(1, '1 h'), job(1, 'running', 1), job(2, 'running', 9)",
        parts: vec![
            part(Engine, [begin(reconcile(1)), Commit]),
            part(Claimer, [begin(claim(1, 2)), Commit]),
            part(Engine, [lost().into(), rescue().into()]),
        ],
        holds: |outcome| {
            let (released, claimed) = (outcome.answered("reconcile"), outcome.claimed().len());
            if released == 1 && claimed <= 1 && (outcome.losses(1), outcome.losses(2)) == (0, 1) {
                return Ok(());
            }
            Err(format!("{released} released, {claimed} claimed"))
        },
        statements: Statements::default(),
    }
}

pub(crate) fn all() -> Vec<Scenario> {
    vec![
        zombie(),
        zombie_and_successor(),
        zombie_that_deletes(),
        host_transaction(),
        host_transaction_undone(),
        two_ends_of_one_run(),
        lost_answer(),
    ]
}

#[tokio::test]
async fn the_end_of_a_run_is_accepted_or_its_job_is_taken_never_both() {
    holds(zombie()).await;
}

#[tokio::test]
async fn a_job_completed_by_its_current_run_stays_so_whatever_reapers_and_claims_do() {
    holds(zombie_and_successor()).await;
}

#[tokio::test]
async fn an_end_that_deletes_its_job_deletes_no_later_run_of_it() {
    holds(zombie_that_deletes()).await;
}

#[tokio::test]
async fn a_handlers_transaction_completes_the_job_or_finds_it_taken() {
    holds(host_transaction()).await;
}

#[tokio::test]
async fn a_handlers_transaction_that_is_rolled_back_completes_nothing() {
    holds(host_transaction_undone()).await;
}

#[tokio::test]
async fn a_run_ends_once_by_its_handler_its_worker_or_a_reaper() {
    holds(two_ends_of_one_run()).await;
}

#[tokio::test]
async fn an_unanswered_claim_is_released_once_and_costs_no_attempt() {
    holds(lost_answer()).await;
}
