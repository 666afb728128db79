//! The explorations: whatever goes wrong, in whatever order, the properties hold.
//!
//! Each takes a few misfortunes together, each as often as it says, on two jobs and three workers: one job with a retry, one
//! without. `PGQUEUE_MODEL_BUDGET` names one to try besides, such as `crashes=2,pauses=1`; large ones take hours.

use std::time::Instant;

use stateright::{Checker, Model};

use super::Protocol;
use crate::protocol::job::{Ending, Job, State};
use crate::protocol::rules::RULES;
use crate::protocol::{Budget, World};

/// How handlers end by themselves. To give a job up is tried apart: it adds little but worlds.
pub(super) const ENDINGS: &[Ending] = &[Ending::Completed, Ending::Failed];

pub(super) const NO_MISFORTUNE: Budget = Budget {
    crashes: 0,
    pauses: 0,
    lost_replies: 0,
    slow: 0,
    stops: 0,
    releases: 0,
    cancels: 0,
    requeues: 0,
};

pub(super) fn world(budget: Budget) -> World {
    World::new(vec![Job::new(1), Job::new(0)], 3, budget)
}

/// A job, and a cancelled one that had the same key.
pub(super) fn with_a_shared_key() -> World {
    let key = Some(1);
    let cancelled = Job {
        key,
        state: State::Cancelled,
        ..Job::new(0)
    };
    let active = Job { key, ..Job::new(0) };
    let requeues = 2;
    World::new(
        vec![active, cancelled],
        3,
        Budget {
            requeues,
            ..NO_MISFORTUNE
        },
    )
}

fn assert_kept(start: World) {
    assert_kept_with(ENDINGS, start);
}

fn assert_kept_with(endings: &'static [Ending], start: World) {
    let budget = start.budget;
    let protocol = Protocol {
        start,
        rules: RULES,
        endings,
    };
    let began = Instant::now();
    let checker = protocol.checker().threads(2).spawn_bfs().join();
    checker.assert_properties();
    let worlds = checker.unique_state_count();
    report(budget, worlds, checker.max_depth(), began);
    assert!(worlds > 300, "only {worlds} worlds: this tries nothing");
}

#[expect(
    clippy::print_stderr,
    reason = "figures for whoever asks with --nocapture"
)]
fn report(budget: Budget, worlds: usize, depth: usize, began: Instant) {
    let elapsed = began.elapsed();
    eprintln!("{worlds} worlds, at most {depth} steps away, in {elapsed:?}: {budget:?}");
}

#[test]
fn while_nothing_goes_wrong() {
    assert_kept(world(NO_MISFORTUNE));
}

#[test]
fn when_a_handler_gives_its_job_up() {
    let lost_replies = 1;
    let start = world(Budget {
        lost_replies,
        ..NO_MISFORTUNE
    });
    assert_kept_with(&[Ending::Completed, Ending::Dead], start);
}

#[test]
fn when_two_processes_crash() {
    let crashes = 2;
    assert_kept(world(Budget {
        crashes,
        ..NO_MISFORTUNE
    }));
}

#[test]
fn when_a_process_crashes_and_a_reply_is_lost() {
    assert_kept(world(Budget {
        crashes: 1,
        lost_replies: 1,
        ..NO_MISFORTUNE
    }));
}

#[test]
fn when_a_process_stands_still_and_a_reply_is_lost() {
    assert_kept(world(Budget {
        pauses: 1,
        lost_replies: 1,
        ..NO_MISFORTUNE
    }));
}

#[test]
fn when_a_process_stands_still_and_one_crashes() {
    assert_kept(world(Budget {
        pauses: 1,
        crashes: 1,
        ..NO_MISFORTUNE
    }));
}

#[test]
fn when_a_statement_is_slow_and_its_reply_is_lost() {
    assert_kept(world(Budget {
        slow: 1,
        lost_replies: 1,
        ..NO_MISFORTUNE
    }));
}

/// What the token is for: a run that was taken away ends after its job was requeued and claimed anew.
#[test]
fn when_a_process_stands_still_and_an_operator_requeues() {
    assert_kept(world(Budget {
        pauses: 1,
        requeues: 1,
        ..NO_MISFORTUNE
    }));
}

/// What the row lock is for: two claims have seen the same job.
#[test]
fn when_two_statements_are_slow() {
    assert_kept(world(Budget {
        slow: 2,
        ..NO_MISFORTUNE
    }));
}

/// A claim whose worker is dead and deleted by the time that it takes its rows.
#[test]
fn when_a_process_crashes_and_its_statement_comes_late() {
    assert_kept(world(Budget {
        crashes: 1,
        slow: 1,
        ..NO_MISFORTUNE
    }));
}

#[test]
fn when_a_process_stops_and_gives_back_what_it_has() {
    assert_kept(world(Budget {
        stops: 1,
        releases: 1,
        lost_replies: 1,
        ..NO_MISFORTUNE
    }));
}

#[test]
fn when_an_operator_cancels_and_requeues_and_a_process_crashes() {
    assert_kept(world(Budget {
        cancels: 1,
        requeues: 1,
        crashes: 1,
        ..NO_MISFORTUNE
    }));
}

#[test]
fn when_jobs_share_a_key() {
    assert_kept(with_a_shared_key());
}

#[test]
#[ignore = "explores what PGQUEUE_MODEL_BUDGET names"]
fn what_else_was_asked_for() {
    let wanted = std::env::var("PGQUEUE_MODEL_BUDGET").expect("such as crashes=2,pauses=1");
    let mut budget = NO_MISFORTUNE;
    for part in wanted.split(',') {
        let (name, often) = part.split_once('=').expect("name=number");
        let often = often.parse().expect("a small number");
        *match name {
            "crashes" => &mut budget.crashes,
            "pauses" => &mut budget.pauses,
            "lost_replies" => &mut budget.lost_replies,
            "slow" => &mut budget.slow,
            "stops" => &mut budget.stops,
            "releases" => &mut budget.releases,
            "cancels" => &mut budget.cancels,
            "requeues" => &mut budget.requeues,
            other => panic!("there is no misfortune {other:?}"),
        } = often;
    }
    assert_kept(world(budget));
}
