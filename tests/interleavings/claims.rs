//! Claims against claims.

use super::acts::{Of, claim, complete, fail, release};
use super::hold::holds;
use super::script::Role::{Claimer, Engine};
use super::script::Step::{Commit, Rollback};
use super::script::{Part, Scenario, begin, part};
use super::statements::Statements;

fn claimer(worker: i64) -> Part {
    part(Claimer, [begin(claim(worker, 1)), Commit])
}

pub(crate) fn three_claim_two_jobs() -> Scenario {
    Scenario {
        name: "three workers claim two jobs",
        given: "SELECT worker(1, '1 h'), worker(2, '1 h'), worker(3, '1 h'), job(1, 'pending'), job(2, 'pending')",
        parts: vec![claimer(1), claimer(2), claimer(3)],
        holds: |outcome| match outcome.answered("claim") {
            2 => Ok(()),
            claimed => Err(format!("{claimed} of two jobs were claimed")),
        },
        statements: Statements::default(),
    }
}

fn a_claim_is_undone() -> Scenario {
    Scenario {
        name: "a claim that was rolled back leaves its job to others",
        given: "SELECT worker(1, '1 h'), worker(2, '1 h'), job(1, 'pending')",
        parts: vec![
            part(Claimer, [begin(claim(1, 1)), Rollback]),
            part(
                Claimer,
                [begin(claim(2, 1)), Commit, complete(Of::Claimed).into()],
            ),
        ],
        holds: |outcome| {
            let expected = match outcome.answered("claim") {
                0 => "pending",
                _ => "completed",
            };
            let state = outcome.state(1);
            (state == expected)
                .then_some(())
                .ok_or(format!("it is {state}, not {expected}"))
        },
        statements: Statements::default(),
    }
}

fn runs_follow_each_other() -> Scenario {
    let (first, second) = (Of::Claimed, Of::Claimed);
    Scenario {
        name: "a job that fails and is given back is claimed again by anybody",
        given: "SELECT worker(1, '1 h'), worker(2, '1 h'), job(1, 'pending')",
        parts: vec![
            part(
                Claimer,
                [
                    claim(1, 1).into(),
                    begin(fail(first)),
                    Commit,
                    claim(1, 2).into(),
                ],
            ),
            part(
                Claimer,
                [claim(2, 1).into(), begin(release(second)), Commit],
            ),
        ],
        holds: |outcome| {
            let job = outcome.job(1).ok_or("it is gone")?;
            let released = outcome.moves.iter().filter_map(|step| step.update());
            let released = released
                .filter(|(was, now)| now.attempt < was.attempt)
                .count();
            let claims = outcome.claimed().len();
            let counts = (
                usize::try_from(job.fencing_token),
                usize::try_from(job.attempt),
            );
            if counts == (Ok(claims), Ok(claims - released)) {
                return Ok(());
            }
            Err(format!("{claims} claims, {released} released, but {job:?}"))
        },
        statements: Statements::default(),
    }
}

pub(crate) fn an_end_comes_late() -> Scenario {
    Scenario {
        name: "who ends his run twice ends nobody else's",
        given: "SELECT worker(1, '1 h'), worker(2, '1 h'), job(1, 'running', 1)",
        parts: vec![
            // Its first answer was lost, so it is sent again.
            part(
                Engine,
                [fail(Of::This(1, 1)).into(), complete(Of::This(1, 1)).into()],
            ),
            part(
                Claimer,
                [
                    begin(claim(2, 1)),
                    Commit,
                    begin(complete(Of::Claimed)),
                    Commit,
                ],
            ),
        ],
        holds: |_| Ok(()),
        statements: Statements::default(),
    }
}

pub(crate) fn all() -> Vec<Scenario> {
    vec![
        three_claim_two_jobs(),
        a_claim_is_undone(),
        runs_follow_each_other(),
        an_end_comes_late(),
    ]
}

#[tokio::test]
async fn three_workers_never_claim_one_job_together() {
    holds(three_claim_two_jobs()).await;
}

#[tokio::test]
async fn a_claim_that_is_rolled_back_leaves_its_job_to_others() {
    holds(a_claim_is_undone()).await;
}

#[tokio::test]
async fn tokens_count_claims_and_attempts_count_those_not_given_back() {
    holds(runs_follow_each_other()).await;
}

#[tokio::test]
async fn who_ends_his_run_twice_ends_nobody_elses() {
    holds(an_end_comes_late()).await;
}
