//! Inserts of one unique key against each other, against the end of the job that has it, and against requeues.

use super::acts::{Of, claim, complete, enqueue, enqueue_two, look, requeue};
use super::hold::holds;
use super::outcome::Outcome;
use super::script::Role::{Claimer, Engine, Host};
use super::script::Step::{Commit, Rollback};
use super::script::{Scenario, begin, part};
use super::statements::Statements;

/// All that were answered, were so with the one active job of the key.
fn all_name_one_job(outcome: &Outcome) -> Result<(), String> {
    let answers = outcome.enqueued();
    let inserted = answers.iter().filter(|(_, inserted)| *inserted).count();
    let same = answers.windows(2).all(|two| two[0].0 == two[1].0);
    if same && inserted == 1 && outcome.jobs.len() == 1 {
        return Ok(());
    }
    Err(format!("the inserts were answered {answers:?}"))
}

pub(crate) fn three_inserts() -> Scenario {
    let insert = || begin(enqueue("k"));
    Scenario {
        name: "three transactions insert one key, one rolls back",
        given: "SELECT 1",
        parts: vec![
            part(Host, [insert(), Commit]),
            part(Host, [insert(), Rollback]),
            part(Host, [insert(), Commit]),
        ],
        holds: all_name_one_job,
        statements: Statements::default(),
    }
}

fn old_snapshot() -> Scenario {
    Scenario {
        name: "a key is inserted by others since a transaction has read",
        given: "SELECT 1",
        parts: vec![
            part(Host, [begin(look()), enqueue("k").into(), Commit]),
            part(Host, [begin(enqueue("k")), Commit]),
        ],
        holds: all_name_one_job,
        statements: Statements::default(),
    }
}

fn ends_meanwhile() -> Scenario {
    Scenario {
        name: "two transactions insert a key while the job that has it ends",
        given: "SELECT worker(1, '1 h'), job(1, 'running', 1, 'k')",
        parts: vec![
            part(Host, [begin(enqueue("k")), Commit]),
            part(Host, [begin(enqueue("k")), Commit]),
            part(Engine, [begin(complete(Of::This(1, 1))), Commit]),
        ],
        holds: |outcome| {
            let answers = outcome.enqueued();
            let inserted = answers.iter().filter(|(_, inserted)| *inserted).count();
            let known = answers
                .iter()
                .all(|(id, inserted)| *inserted || *id == 1 || inserted_by(outcome, *id));
            if answers.len() == 2 && inserted <= 1 && known && outcome.state(1) == "completed" {
                return Ok(());
            }
            Err(format!("the inserts were answered {answers:?}"))
        },
        statements: Statements::default(),
    }
}

fn inserted_by(outcome: &Outcome, id: i64) -> bool {
    outcome.enqueued().contains(&(id, true))
}

fn bulk() -> Scenario {
    Scenario {
        name: "three transactions insert two keys each that overlap, one rolls back",
        given: "SELECT 1",
        parts: vec![
            part(Host, [begin(enqueue_two(["a", "b"])), Commit]),
            part(Host, [begin(enqueue_two(["b", "c"])), Commit]),
            part(Host, [begin(enqueue_two(["a", "c"])), Rollback]),
        ],
        holds: |outcome| {
            let answers = outcome.enqueued();
            let inserted = answers.iter().filter(|(_, inserted)| *inserted).count();
            if (answers.len(), inserted, outcome.jobs.len()) == (4, 3, 3) {
                return Ok(());
            }
            Err(format!("the inserts were answered {answers:?}"))
        },
        statements: Statements::default(),
    }
}

/// A requeue says that it has moved the job, or that the key is taken, or leaves the job that somebody else holds.
fn is_answered(outcome: &Outcome) -> Result<(), String> {
    let answer = outcome.action("requeue");
    let revived = outcome.moves.iter().filter_map(|step| step.update());
    let revived = revived
        .filter(|(was, now)| was.is("dead") && now.is("pending"))
        .count();
    match (answer, revived) {
        (Some("requeued"), 1) | (Some("conflict" | "left"), 0) => Ok(()),
        _ => Err(format!("answered {answer:?}, requeued {revived}")),
    }
}

fn requeue_against(name: &'static str, end: super::script::Step) -> Scenario {
    Scenario {
        name,
        given: "SELECT worker(1, '1 h'), job(1, 'dead', NULL, 'k')",
        parts: vec![
            part(Host, [begin(requeue(1)), Commit]),
            part(Host, [begin(enqueue("k")), end]),
            part(Claimer, [claim(1, 1).into(), complete(Of::Claimed).into()]),
        ],
        holds: is_answered,
        statements: Statements::default(),
    }
}

pub(crate) fn requeue_and_insert() -> Scenario {
    requeue_against("a requeue against an insert of its key", Commit)
}

fn requeue_and_undone_insert() -> Scenario {
    requeue_against(
        "a requeue against an insert of its key that is rolled back",
        Rollback,
    )
}

fn two_requeues() -> Scenario {
    let requeues = |id| part(Host, [begin(requeue(id)), Commit]);
    Scenario {
        name: "two requeues of jobs with one key",
        given: "SELECT job(1, 'dead', NULL, 'k'), job(2, 'dead', NULL, 'k')",
        parts: vec![
            requeues(1),
            requeues(2),
            part(Host, [begin(requeue(1)), Rollback]),
        ],
        holds: |outcome| {
            let pending = outcome.jobs.iter().filter(|job| job.is("pending")).count();
            (pending == 1)
                .then_some(())
                .ok_or(format!("{pending} are pending"))
        },
        statements: Statements::default(),
    }
}

pub(crate) fn all() -> Vec<Scenario> {
    vec![
        three_inserts(),
        old_snapshot(),
        ends_meanwhile(),
        bulk(),
        requeue_and_insert(),
        requeue_and_undone_insert(),
        two_requeues(),
    ]
}

#[tokio::test]
async fn of_racing_inserts_one_makes_the_job_and_the_others_name_it() {
    holds(three_inserts()).await;
}

#[tokio::test]
async fn an_insert_names_the_job_that_came_since_its_transaction_has_read() {
    holds(old_snapshot()).await;
}

#[tokio::test]
async fn an_insert_names_the_job_that_has_the_key_or_makes_one_when_it_ends() {
    holds(ends_meanwhile()).await;
}

#[tokio::test]
async fn bulk_inserts_whose_keys_overlap_make_each_job_once() {
    holds(bulk()).await;
}

#[tokio::test]
async fn a_requeue_against_an_insert_of_its_key_is_done_or_a_conflict_never_an_error() {
    holds(requeue_and_insert()).await;
}

#[tokio::test]
async fn a_requeue_against_an_insert_that_is_rolled_back_is_done_or_left() {
    holds(requeue_and_undone_insert()).await;
}

#[tokio::test]
async fn of_two_requeued_jobs_with_one_key_one_comes_back() {
    holds(two_requeues()).await;
}
