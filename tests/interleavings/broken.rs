//! The runner finds what it looks for: statements that are broken on purpose are found out by some order.

use super::acts::enqueue;
use super::hold::first_violation;
use super::script::Role::Host;
use super::script::Step::Commit;
use super::script::{Scenario, begin, part};
use super::{cancels, claims, ends, keys, purges, reapers};

async fn assert_found_out(scenario: Scenario, rule: &str) {
    let found = first_violation(scenario).await;
    let found = found.expect("some order breaks a rule");
    assert!(found.contains(rule), "{found}");
}

#[tokio::test]
async fn a_deadlock_is_found_out() {
    let both = |keys: [&str; 2]| {
        part(
            Host,
            [begin(enqueue(keys[0])), enqueue(keys[1]).into(), Commit],
        )
    };
    let crossed = Scenario {
        parts: vec![both(["a", "b"]), both(["b", "a"])],
        holds: |_| Ok(()),
        ..keys::three_inserts()
    };
    assert_found_out(crossed, "was refused: 40P01").await;
}

#[tokio::test]
async fn a_finish_without_the_fence_is_found_out() {
    let fence = "\n  AND j.fencing_token = e.token";
    let broken = ends::zombie_and_successor().broken("finish", fence, "");
    assert_found_out(broken, "the end of run ((1, 1)").await;
}

#[tokio::test]
async fn a_finish_that_forgets_a_cancel_is_found_out() {
    let minds = "CASE WHEN e.state = 'pending' AND j.cancel_requested_at IS NOT NULL THEN 'cancelled' ELSE e.state END";
    let ends = "e.state = 'pending' AND j.cancel_requested_at IS NULL THEN NULL";
    let broken = cancels::retry().broken("finish", minds, "e.state").broken(
        "finish",
        ends,
        "e.state = 'pending' THEN NULL",
    );
    assert_found_out(broken, "job 1 was to be cancelled").await;
}

#[tokio::test]
async fn a_reaper_that_looks_for_dead_workers_as_it_takes_their_jobs_is_found_out() {
    let pinned = "WHERE j.id = ANY (ARRAY(SELECT stranded.id FROM stranded))
  AND j.state = 'running'
  AND j.claimed_by = ANY ($1::bigint[])";
    let at_once = "WHERE j.state = 'running'
  AND NOT EXISTS (SELECT FROM pgqueue_workers AS w WHERE w.id = j.claimed_by)";
    let broken = reapers::born_meanwhile().broken("rescue", pinned, at_once);
    assert_found_out(broken, "a reaper takes no job of a registered worker").await;
}

#[tokio::test]
async fn a_claim_that_waits_for_a_lock_instead_of_passing_by_is_found_out() {
    let broken = claims::three_claim_two_jobs();
    let broken = broken.broken("claim", "\n            FOR UPDATE SKIP LOCKED", "");
    assert_found_out(broken, "a run keeps its token, attempt and worker").await;
}

#[tokio::test]
async fn an_enqueue_that_does_not_expect_conflicts_is_found_out() {
    let expected = "\n    ON CONFLICT (queue, unique_key) WHERE unique_key IS NOT NULL AND state IN ('pending', 'running') DO NOTHING";
    let broken = keys::three_inserts().broken("enqueue", expected, "");
    assert_found_out(broken, "was refused: 23505").await;
}

#[tokio::test]
async fn a_purge_of_any_state_is_found_out() {
    let ended = " AND j.state IN ('completed', 'cancelled', 'dead')";
    let broken = purges::purge_and_requeue().broken("purge", ended, "");
    assert_found_out(broken, "only jobs that have ended are deleted").await;
}

#[tokio::test]
async fn a_finish_of_a_run_that_has_ended_is_found_out() {
    let running = "\n  AND coalesce(j.claimed_by, 0) <> 0";
    let broken = claims::an_end_comes_late().broken("finish", running, "");
    assert_found_out(broken, "there is no such move").await;
}

#[tokio::test]
async fn a_judge_without_a_lease_of_his_own_is_found_out() {
    let judge = "\n  AND EXISTS (SELECT FROM pgqueue_workers AS judge WHERE judge.id = $1::bigint AND judge.expires_at >= clock_timestamp())";
    let broken = reapers::sleepers().broken("expire_workers", judge, "\n  AND $1::bigint > 0");
    assert_found_out(broken, "are left").await;
}

#[tokio::test]
async fn a_requeue_that_does_not_expect_conflicts_is_found_out() {
    let guarded =
        "SELECT r.id, r.answer FROM pgqueue_requeue(ARRAY(SELECT chosen.id FROM chosen)) AS r";
    let bold = "UPDATE pgqueue_jobs AS j SET state = 'pending', attempt = 0, finished_at = NULL
        WHERE j.id = ANY (ARRAY(SELECT chosen.id FROM chosen)) RETURNING j.id, 'requeued'::text AS answer";
    let broken = keys::requeue_and_insert().broken("requeue", guarded, bold);
    assert_found_out(broken, "was refused: 23505").await;
}

#[tokio::test]
async fn a_judge_that_does_not_look_again_when_he_gets_the_row_is_found_out() {
    let looks = "WHERE expires_at < clock_timestamp()\n";
    let looked = "WHERE id = ANY (ARRAY(SELECT w.id FROM pgqueue_workers AS w WHERE w.expires_at < clock_timestamp()))\n";
    let broken = reapers::late_beat().broken("expire_workers", looks, looked);
    assert_found_out(broken, "1 beats, and left were").await;
}

#[tokio::test]
async fn a_reaper_that_does_not_look_again_when_it_gets_the_row_is_found_out() {
    let again = "\n  AND j.state = 'running'\n  AND j.claimed_by = ANY ($1::bigint[])\nRETURNING";
    let broken = ends::zombie()
        .broken("rescue", again, "\nRETURNING")
        .broken("rescue", "\n    FOR UPDATE SKIP LOCKED", "");
    assert_found_out(
        broken,
        "a requeue keeps the token, and begins to count anew",
    )
    .await;
}
