//! Purges and retention against requeues and claims of the same job.

use super::acts::{claim, prune_completed, purge, requeue};
use super::hold::holds;
use super::script::Role::{Claimer, Engine, Host};
use super::script::Step::Commit;
use super::script::{Scenario, begin, part};
use super::statements::Statements;

/// That only jobs that have ended are deleted is a rule for all scenarios.
pub(crate) fn purge_and_requeue() -> Scenario {
    Scenario {
        name: "a purge while the job is requeued and claimed",
        given: "SELECT worker(1, '1 h'), job(1, 'dead')",
        parts: vec![
            part(Host, [begin(purge(1)), Commit]),
            part(Host, [begin(requeue(1)), Commit]),
            part(Claimer, [begin(claim(1, 1)), Commit]),
        ],
        holds: |outcome| {
            let answers = (outcome.action("purge"), outcome.action("requeue"));
            match (answers, outcome.state(1)) {
                ((Some("purge"), Some("left")), "gone")
                | ((Some("left"), Some("requeued")), "pending" | "running") => Ok(()),
                left => Err(format!("the answers, and what is left: {left:?}")),
            }
        },
        statements: Statements::default(),
    }
}

fn prune_and_requeue() -> Scenario {
    Scenario {
        name: "retention while the job is requeued and claimed",
        given: "SELECT worker(1, '1 h'), job(1, 'completed')",
        parts: vec![
            part(Engine, [begin(prune_completed()), Commit]),
            part(Host, [begin(requeue(1)), Commit]),
            part(Claimer, [begin(claim(1, 1)), Commit]),
        ],
        holds: |outcome| {
            let pruned = outcome.answered("prune_completed");
            match (pruned, outcome.action("requeue"), outcome.state(1)) {
                (1, Some("left"), "gone") | (0, Some("requeued"), "pending" | "running") => Ok(()),
                left => Err(format!("pruned, answered and left: {left:?}")),
            }
        },
        statements: Statements::default(),
    }
}

pub(crate) fn all() -> Vec<Scenario> {
    vec![purge_and_requeue(), prune_and_requeue()]
}

#[tokio::test]
async fn a_purge_deletes_no_job_that_is_requeued_or_runs() {
    holds(purge_and_requeue()).await;
}

#[tokio::test]
async fn retention_deletes_no_job_that_is_requeued_or_runs() {
    holds(prune_and_requeue()).await;
}
