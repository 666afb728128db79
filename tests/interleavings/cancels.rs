//! Cancels against all that can happen to a job at that moment.

use super::acts::{Of, cancel, claim, complete, fail, lost, reconcile, rescue, rescue_overdue};
use super::hold::holds;
use super::script::Role::{Claimer, Engine, Host};
use super::script::Step::Commit;
use super::script::{Part, Scenario, begin, part};
use super::statements::Statements;

const RUNNING: &str = "SELECT worker(1, '1 h'), job(1, 'running', 1)";

/// That a cancel is kept is a rule for all scenarios.
fn against<const N: usize>(name: &'static str, given: &'static str, others: [Part; N]) -> Scenario {
    let cancels = part(Host, [begin(cancel(1)), Commit]);
    Scenario {
        name,
        given,
        parts: [cancels].into_iter().chain(others).collect(),
        holds: |_| Ok(()),
        statements: Statements::default(),
    }
}

pub(crate) fn retry() -> Scenario {
    let fails = part(Engine, [begin(fail(Of::This(1, 1))), Commit]);
    let claims = part(Claimer, [begin(claim(1, 2)), Commit]);
    against(
        "a cancel while a run fails and is claimed again",
        RUNNING,
        [fails, claims],
    )
}

fn completion() -> Scenario {
    let completes = part(Engine, [begin(complete(Of::This(1, 1))), Commit]);
    against("a cancel while a run completes", RUNNING, [completes])
}

fn claimed() -> Scenario {
    let given = "SELECT worker(1, '1 h'), job(1, 'pending')";
    let runs = part(
        Claimer,
        [begin(claim(1, 1)), Commit, begin(fail(Of::Claimed)), Commit],
    );
    against("a cancel while a job is claimed and fails", given, [runs])
}

fn death() -> Scenario {
    let given = "SELECT job(1, 'running', 90)";
    let reaps = part(Engine, [lost().into(), begin(rescue()), Commit]);
    against(
        "a cancel while a job is taken from a dead worker",
        given,
        [reaps],
    )
}

fn overdue() -> Scenario {
    let fails = part(Engine, [begin(fail(Of::This(1, 1))), Commit]);
    let reaps = part(Engine, [begin(rescue_overdue()), Commit]);
    against(
        "a cancel while a run fails and is overdue",
        RUNNING,
        [fails, reaps],
    )
}

fn release() -> Scenario {
    let releases = part(Engine, [begin(reconcile(1)), Commit]);
    let claims = part(Claimer, [claim(1, 2).into(), complete(Of::Claimed).into()]);
    against(
        "a cancel while an unanswered claim is released",
        RUNNING,
        [releases, claims],
    )
}

pub(crate) fn all() -> Vec<Scenario> {
    vec![
        retry(),
        completion(),
        claimed(),
        death(),
        overdue(),
        release(),
    ]
}

#[tokio::test]
async fn a_cancel_is_not_lost_when_the_run_fails() {
    holds(retry()).await;
}

#[tokio::test]
async fn a_cancel_is_too_late_for_a_run_that_completes_or_is_not() {
    holds(completion()).await;
}

#[tokio::test]
async fn a_cancel_is_not_lost_when_the_job_is_being_claimed() {
    holds(claimed()).await;
}

#[tokio::test]
async fn a_cancel_is_not_lost_when_the_worker_has_died() {
    holds(death()).await;
}

#[tokio::test]
async fn a_cancel_is_not_lost_when_the_run_is_overdue() {
    holds(overdue()).await;
}

#[tokio::test]
async fn a_cancel_is_not_lost_when_an_unanswered_claim_is_released() {
    holds(release()).await;
}
