//! One statement says something else, and the oracle must notice: so it does when a file is changed by mistake.

use proptest::test_runner::TestError;

use super::texts::Texts;
use super::{compare, told};

/// The same cases each time; most mutations are found within the first ten.
const SEED: u64 = 1;
const CASES: u32 = 400;

fn assert_noticed(name: &'static str, from: &str, to: &str) {
    let texts = Texts::as_they_are().with(name, from, to);

    let compared = compare(texts, CASES, 0, SEED);

    let error = compared.expect_err("the oracle notices the change");
    assert!(matches!(*error, TestError::Fail(..)), "{}", told(&error));
}

macro_rules! mutations {
    ($($claim:ident: $name:literal says $to:literal instead of $from:literal;)*) => {
        $(
            #[test]
            fn $claim() {
                assert_noticed($name, $from, $to);
            }
        )*
    };
}

mutations! {
    an_end_without_a_fence_is_noticed: "finish" says "e.token = e.token" instead of "j.fencing_token = e.token";
    an_end_of_what_nobody_has_is_noticed: "finish" says "true" instead of "coalesce(j.claimed_by, 0) <> 0";
    a_release_that_burns_the_attempt_is_noticed: "finish" says "j.attempt" instead of "j.attempt - e.refund";
    a_retry_of_a_cancelled_job_is_noticed: "finish" says "e.state" instead of
        "CASE WHEN e.state = 'pending' AND j.cancel_requested_at IS NOT NULL THEN 'cancelled' ELSE e.state END";
    a_retry_at_once_is_noticed: "finish" says "now() - e.delay" instead of "now() + e.delay";
    an_effect_without_a_fence_is_noticed: "complete_in" says "$2::bigint IS NOT NULL" instead of "j.fencing_token = $2::bigint";
    a_claim_that_keeps_the_token_is_noticed: "claim" says "j.fencing_token" instead of "j.fencing_token + 1";
    a_claim_that_keeps_the_attempt_is_noticed: "claim" says "j.attempt" instead of "least(j.attempt, 2147483646) + 1";
    a_claim_by_a_worker_that_is_taken_for_dead_is_noticed: "claim" says "w.id > 0" instead of "w.id = $7::bigint";
    a_claim_of_the_newest_is_noticed: "claim" says "ORDER BY j.run_at DESC, j.id DESC" instead of "ORDER BY j.run_at, j.id";
    a_claim_that_passes_priorities_over_is_noticed: "claim" says "generate_series(5, 9)" instead of "generate_series(0, 9)";
    a_claim_before_the_time_is_noticed: "claim" says "j.run_at <= now() + interval '2 h'" instead of "j.run_at <= now()";
    a_claim_of_a_suspect_among_others_is_noticed: "claim" says "j.lost >= 0" instead of "j.lost = 0";
    a_last_chance_that_is_claimed_ahead_is_noticed: "claim" says "bool_and(d.is_last_chance)" instead of "bool_or(d.is_last_chance)";
    a_suspect_claimed_out_of_turn_is_noticed: "claim_suspect" says "ORDER BY j.run_at DESC, j.id DESC" instead of "ORDER BY j.run_at, j.id";
    a_rescue_from_anybody_is_noticed: "rescue" says "j.claimed_by <> ALL ($1::bigint[] || 0::bigint)" instead of "j.claimed_by = ANY ($1::bigint[])";
    a_rescue_that_forgets_the_loss_is_noticed: "rescue" says "lost = j.lost" instead of "lost = least(j.lost, 2147483646) + 1";
    a_rescue_that_forgives_once_more_is_noticed: "rescue" says "j.lost > $2::integer" instead of "j.lost >= $2::integer";
    a_rescue_that_allows_one_run_more_is_noticed: "rescue" says "j.attempt > j.max_retries + 1" instead of "j.attempt > j.max_retries";
    a_rescue_of_a_job_to_be_cancelled_is_noticed: "rescue" says "false" instead of "j.cancel_requested_at IS NOT NULL";
    a_reconcile_of_open_claims_is_noticed: "reconcile" says "j.claim_batch <= $2::bigint + 1000" instead of "j.claim_batch <= $2::bigint";
    a_reconcile_of_what_is_known_is_noticed: "reconcile" says "cardinality($3::bigint[]) >= 0" instead of "j.id <> ALL ($3::bigint[])";
    a_reconcile_that_burns_the_attempt_is_noticed: "reconcile" says "attempt = j.attempt" instead of "attempt = j.attempt - 1";
    an_expiry_of_the_living_is_noticed: "expire_workers" says "expires_at > clock_timestamp() - interval '1 h'" instead of "expires_at < clock_timestamp()";
    a_judge_without_a_lease_is_noticed: "expire_workers" says "judge.expires_at < 'infinity'" instead of "judge.expires_at >= clock_timestamp()";
    owners_that_are_registered_are_noticed: "lost" says "w.id = owner.id + 1000" instead of "w.id = owner.id";
    a_beat_that_renews_nothing_is_noticed: "beat" says "expires_at = expires_at + 0 * $2::interval" instead of "expires_at = clock_timestamp() + $2::interval";
}
