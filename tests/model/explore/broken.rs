//! Each rule is broken in turn, and the exploration must find what it is for. With all rules the same worlds are kept.

use std::collections::BTreeSet;

use stateright::{Checker, HasDiscoveries, Model};

use super::kept::{self, NO_MISFORTUNE, world};
use super::{
    ABANDONED, CLAIMED_TWICE, DIED_EARLY, EFFECT_REPEATED, ENDED_TWICE, KEY_SHARED, MISCOUNTED,
    Protocol, ROBBED, STALE_END, STUCK, TOKEN_JUMPED,
};
use crate::protocol::rules::{Fence, RULES, Rules};
use crate::protocol::{Budget, World};

/// Finds a counterexample to this property. The search ends at the first, which is a shortest one.
fn assert_broken(start: World, rules: Rules, property: &'static str) {
    let protocol = Protocol {
        start,
        rules,
        endings: kept::ENDINGS,
    };
    let wanted = HasDiscoveries::AnyOf(BTreeSet::from([property]));
    let checker = protocol.checker().finish_when(wanted).spawn_bfs().join();
    let found = checker.discovery(property);
    assert!(
        found.is_some(),
        "the rule is not needed for: {property}; {} worlds tried",
        checker.unique_state_count()
    );
}

const PAUSE: Budget = Budget {
    pauses: 1,
    ..NO_MISFORTUNE
};
const CRASH: Budget = Budget {
    crashes: 1,
    ..NO_MISFORTUNE
};
const LOST_REPLY: Budget = Budget {
    lost_replies: 1,
    ..NO_MISFORTUNE
};
const RELEASE: Budget = Budget {
    releases: 1,
    ..NO_MISFORTUNE
};

#[test]
fn without_a_fence_a_worker_that_was_taken_for_dead_ends_the_next_run() {
    let rules = Rules {
        fence: Fence::None,
        ..RULES
    };
    assert_broken(world(PAUSE), rules, STALE_END);
}

#[test]
fn with_the_attempt_as_a_fence_an_end_that_is_sent_again_ends_the_next_run() {
    let rules = Rules {
        fence: Fence::Attempt,
        ..RULES
    };
    let budget = Budget {
        releases: 1,
        ..LOST_REPLY
    };
    assert_broken(world(budget), rules, STALE_END);
}

#[test]
fn with_the_attempt_as_a_fence_a_requeued_job_is_ended_by_its_past() {
    let rules = Rules {
        fence: Fence::Attempt,
        ..RULES
    };
    let budget = Budget {
        requeues: 1,
        ..PAUSE
    };
    assert_broken(world(budget), rules, STALE_END);
}

#[test]
fn without_a_fence_complete_in_ends_the_run_of_another() {
    let rules = Rules {
        fence_of_effects: Fence::None,
        ..RULES
    };
    assert_broken(world(PAUSE), rules, STALE_END);
}

#[test]
fn a_handler_that_commits_although_its_lease_is_lost_repeats_its_effect() {
    let rules = Rules {
        effects_need_rows: false,
        ..RULES
    };
    assert_broken(world(PAUSE), rules, EFFECT_REPEATED);
}

#[test]
fn an_end_that_is_accepted_of_a_job_that_nobody_has_is_accepted_twice() {
    let rules = Rules {
        ends_once: false,
        ..RULES
    };
    assert_broken(world(LOST_REPLY), rules, ENDED_TWICE);
}

#[test]
fn a_rescue_that_looks_for_the_living_in_an_old_snapshot_robs_one() {
    let rules = Rules {
        pins_owners: false,
        ..RULES
    };
    assert_broken(world(CRASH), rules, ROBBED);
}

#[test]
fn a_rescue_that_waits_for_no_lease_robs_the_living() {
    let rules = Rules {
        waits_for_leases: false,
        ..RULES
    };
    assert_broken(world(NO_MISFORTUNE), rules, ROBBED);
}

#[test]
fn a_worker_that_registers_under_its_old_id_is_robbed() {
    let rules = Rules {
        renews_ids: false,
        ..RULES
    };
    assert_broken(world(PAUSE), rules, ROBBED);
}

#[test]
fn without_reconcile_a_claim_whose_answer_is_lost_holds_its_job_for_ever() {
    let rules = Rules {
        reconciles: false,
        ..RULES
    };
    assert_broken(world(LOST_REPLY), rules, ABANDONED);
    assert_broken(world(LOST_REPLY), rules, STUCK);
}

#[test]
fn a_claim_that_does_not_end_when_its_answer_is_lost_hides_its_job_from_reconcile() {
    let rules = Rules {
        ends_lost_claims: false,
        ..RULES
    };
    assert_broken(world(LOST_REPLY), rules, ABANDONED);
    assert_broken(world(LOST_REPLY), rules, STUCK);
}

#[test]
fn a_reconcile_that_does_not_wait_for_open_claims_takes_what_is_being_started() {
    let rules = Rules {
        spares_open_claims: false,
        ..RULES
    };
    assert_broken(world(NO_MISFORTUNE), rules, ROBBED);
}

#[test]
fn a_release_that_keeps_the_attempt_burns_it() {
    let rules = Rules {
        refunds: false,
        ..RULES
    };
    assert_broken(world(RELEASE), rules, MISCOUNTED);
}

#[test]
fn without_the_row_lock_two_workers_claim_one_job() {
    let rules = Rules {
        locks_rows: false,
        ..RULES
    };
    let budget = Budget {
        slow: 2,
        ..NO_MISFORTUNE
    };
    assert_broken(world(budget), rules, CLAIMED_TWICE);
}

#[test]
fn a_requeue_that_begins_the_tokens_anew_gives_one_out_twice() {
    let rules = Rules {
        keeps_tokens: false,
        ..RULES
    };
    let budget = Budget {
        requeues: 1,
        ..NO_MISFORTUNE
    };
    assert_broken(world(budget), rules, TOKEN_JUMPED);
}

#[test]
fn a_rescue_that_counts_the_loss_before_it_compares_kills_a_job_early() {
    let rules = Rules {
        forgives_a_loss: false,
        ..RULES
    };
    assert_broken(world(CRASH), rules, DIED_EARLY);
}

#[test]
fn a_requeue_that_does_not_look_for_its_key_shares_it() {
    let rules = Rules {
        guards_keys: false,
        ..RULES
    };
    assert_broken(kept::with_a_shared_key(), rules, KEY_SHARED);
}
