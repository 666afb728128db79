//! Reapers against beats, against each other, and against workers that are born meanwhile.

use super::acts::{
    Of, beat, expire_workers, fail, lost, progress, register_and_claim, register_if_deposed, rescue,
};
use super::hold::holds;
use super::script::Role::{Engine, Host};
use super::script::Step::{Commit, Rollback};
use super::script::{Part, Scenario, begin, part};
use super::statements::Statements;

pub(crate) fn late_beat() -> Scenario {
    Scenario {
        name: "a late beat against a judge",
        given: "SELECT worker(1, '-1 s'), worker(2, '1 h'), job(1, 'running', 1)",
        parts: vec![
            part(
                Engine,
                [begin(beat(1)), Commit, register_if_deposed().into()],
            ),
            part(
                Engine,
                [
                    begin(expire_workers(2)),
                    Commit,
                    lost().into(),
                    rescue().into(),
                ],
            ),
        ],
        holds: |outcome| {
            let beaten = outcome.answered("beat");
            let left = (
                outcome.state(1),
                outcome.losses(1),
                outcome.workers.contains(&1),
            );
            match (beaten, left) {
                (1, ("running", 0, true)) | (0, ("pending", 1, false)) => Ok(()),
                _ => Err(format!("{beaten} beats, and left were {left:?}")),
            }
        },
        statements: Statements::default(),
    }
}

/// Worker 90 is dead and has two jobs. While a reaper has looked and is to take them, one comes back and a worker that is
/// born then claims it; a transaction of the host's holds the other.
pub(crate) fn born_meanwhile() -> Scenario {
    Scenario {
        name: "a worker is born and claims between the steps of a reaper",
        given: "SELECT job(1, 'running', 90), job(2, 'running', 90)",
        parts: vec![
            part(Host, [begin(progress(1, 1)), Rollback]),
            part(
                Engine,
                [fail(Of::This(2, 1)).into(), register_and_claim().into()],
            ),
            part(Engine, [lost().into(), rescue().into()]),
        ],
        holds: |outcome| match outcome.claimed().len() {
            0 => Ok(()),
            _ if outcome.jobs.iter().any(|job| job.claimed_by == Some(1)) => Ok(()),
            _ => Err(String::from("the job of the new worker was taken")),
        },
        statements: Statements::default(),
    }
}

fn reaper() -> Part {
    part(Engine, [lost().into(), begin(rescue()), Commit])
}

fn two_reapers() -> Scenario {
    Scenario {
        name: "two reapers find the same dead worker",
        given: "SELECT job(1, 'running', 90), job(2, 'running', 90)",
        parts: vec![reaper(), reaper()],
        holds: |outcome| match (outcome.losses(1), outcome.losses(2)) {
            (1, 1) => Ok(()),
            losses => Err(format!("they were taken {losses:?} times")),
        },
        statements: Statements::default(),
    }
}

pub(crate) fn sleepers() -> Scenario {
    Scenario {
        name: "two workers wake from the same sleep and judge",
        given: "SELECT worker(1, '-1 s'), worker(2, '-1 s')",
        parts: vec![
            part(Engine, [begin(expire_workers(1)), Commit]),
            part(
                Engine,
                [begin(beat(2)), Commit, begin(expire_workers(2)), Commit],
            ),
        ],
        holds: |outcome| {
            let left = &outcome.workers;
            (*left == [2])
                .then_some(())
                .ok_or(format!("{left:?} are left"))
        },
        statements: Statements::default(),
    }
}

pub(crate) fn all() -> Vec<Scenario> {
    vec![late_beat(), born_meanwhile(), two_reapers(), sleepers()]
}

#[tokio::test]
async fn a_late_beat_wins_or_finds_no_row_and_then_its_job_comes_back_once() {
    holds(late_beat()).await;
}

#[tokio::test]
async fn a_reaper_takes_no_job_of_a_worker_that_was_born_since_it_looked() {
    holds(born_meanwhile()).await;
}

#[tokio::test]
async fn two_reapers_take_each_job_once() {
    holds(two_reapers()).await;
}

#[tokio::test]
async fn who_has_slept_through_his_own_lease_takes_nobody_for_dead() {
    holds(sleepers()).await;
}
