//! Each rule, broken by hand in a history that is otherwise in order.

use pgqueue_suite::chaos::evidence::How;
use pgqueue_suite::proxy::statements::{COMPLETE, FINISH};

use super::{Moment, Rule, check};
use crate::history::{Began, Change, Fate, History, Intent, Lease};

/// A history of one job, 1, that worker 7 completes with its second run, after worker 6 was lost with the first.
fn healthy() -> History {
    let mut history = History::default();
    let lost = Change {
        failure: Some("lost".to_owned()),
        lost: (0, 1),
        ..change(3, "running", "pending")
    };
    let survived = |change| Change {
        lost: (1, 1),
        ..change
    };
    let changes = [
        Change {
            before: None,
            intent: Some(100),
            act: Some("Effect".to_owned()),
            ..change(1, "", "pending")
        },
        run(change(2, "pending", "running"), (0, 1), 6),
        run(lost, (1, 1), 6),
        survived(run(change(4, "pending", "running"), (1, 2), 7)),
        survived(run(change(5, "running", "completed"), (2, 2), 7)),
    ];
    history.jobs.insert(1, changes.to_vec());
    let fate = Fate::Committed {
        id: 1,
        inserted: true,
    };
    let intent = Intent {
        with_order: true,
        has_order: true,
        key: Some("key".to_owned()),
        fate,
        wanted: (5, 15),
    };
    history.intents.insert(100, intent);
    for token in [1, 2] {
        history
            .began
            .insert((1, token), vec![Began { at: 0, intent: 100 }]);
    }
    history.ends.insert((1, 2), vec![(45, How::Done)]);
    history.left.insert((1, 2), 46);
    history.effects.insert(1, vec![2]);
    history.leases.insert(
        6,
        vec![Lease {
            at: 25,
            expires_at: 20,
            is_over: true,
            by_itself: false,
        }],
    );
    history.leases.insert(
        7,
        vec![Lease {
            at: 30,
            expires_at: 90,
            ..Lease::default()
        }],
    );
    history
}

/// Makes a change at ten times its number.
fn change(number: i64, before: &str, after: &str) -> Change {
    Change {
        number,
        at: 10 * number,
        before: Some(before.to_owned()),
        after: Some(after.to_owned()),
        max_retries: 3,
        queue: "effects".to_owned(),
        key: Some("key".to_owned()),
        ..Change::default()
    }
}

/// Of a run, with tokens that are attempts, too.
fn run(change: Change, token: (i64, i64), owner: i64) -> Change {
    Change {
        token,
        attempt: (token.0.try_into().unwrap(), token.1.try_into().unwrap()),
        owner: Some(owner),
        batch: Some(1),
        ..change
    }
}

/// Checks that a drained history breaks this rule, among others that follow.
#[track_caller]
fn assert_breaks(rule: Rule, break_it: impl FnOnce(&mut History)) {
    let mut history = healthy();
    break_it(&mut history);
    let found = check(&history, Moment::Drained);
    assert!(found.iter().any(|found| found.rule == rule), "{found:?}");
}

fn last(history: &mut History) -> &mut Change {
    history.jobs.get_mut(&1).unwrap().last_mut().unwrap()
}

#[test]
fn a_history_in_order_breaks_nothing() {
    assert_eq!(check(&healthy(), Moment::Drained), []);
}

#[test]
fn a_committed_job_that_is_missing_or_does_not_end_is_found() {
    assert_breaks(Rule::CommittedRuns, |history| {
        history.jobs.clear();
    });
    assert_breaks(Rule::CommittedRuns, |history| {
        history.jobs.get_mut(&1).unwrap().pop();
    });
    assert_breaks(Rule::CommittedRuns, |history| {
        let fate = Fate::Committed {
            id: 2,
            inserted: false,
        };
        history.intents.insert(
            101,
            Intent {
                fate,
                ..Intent::default()
            },
        );
    });
}

#[test]
fn a_job_of_a_transaction_that_rolled_back_is_found() {
    let fate =
        |fate| move |history: &mut History| history.intents.get_mut(&100).unwrap().fate = fate;
    assert_breaks(Rule::AtomicEnqueue, fate(Fate::RolledBack));
    assert_breaks(Rule::AtomicEnqueue, |history| {
        let intent = history.intents.get_mut(&100).unwrap();
        (intent.fate, intent.has_order) = (Fate::Unknown, false);
    });
    assert_breaks(Rule::AtomicEnqueue, |history| {
        history
            .began
            .insert((2, 1), vec![Began { at: 0, intent: 200 }]);
    });
    assert_breaks(Rule::AtomicEnqueue, |history| {
        let twin = history.jobs[&1].clone();
        history.jobs.insert(2, twin);
    });
}

#[test]
fn a_job_that_completes_twice_is_found() {
    assert_breaks(Rule::CompletesOnce, |history| {
        let again = run(change(6, "running", "completed"), (2, 2), 7);
        history.jobs.get_mut(&1).unwrap().push(again);
    });
}

#[test]
fn an_effect_too_many_or_too_few_or_of_another_run_is_found() {
    for effects in [vec![], vec![2, 2], vec![1]] {
        assert_breaks(Rule::EffectOnce, |history| {
            history.effects.insert(1, effects);
        });
    }
}

#[test]
fn a_token_or_an_attempt_that_jumps_is_found() {
    assert_breaks(Rule::TokenByOne, |history| last(history).token = (2, 3));
    assert_breaks(Rule::AttemptsAreClaims, |history| {
        last(history).attempt = (2, 3);
    });
}

#[test]
fn a_loss_that_is_not_counted_is_found() {
    assert_breaks(Rule::LossesAreCounted, |history| {
        history.jobs.get_mut(&1).unwrap()[2].lost = (0, 0);
    });
}

#[test]
fn an_end_that_no_handler_of_the_run_gave_is_found() {
    assert_breaks(Rule::OwnEnd, |history| {
        let ends = history.ends.remove(&(1, 2)).unwrap();
        history.ends.insert((1, 1), ends);
    });
    // Its own handler ends later, and does not know.
    assert_breaks(Rule::OwnEnd, |history| {
        history.ends.insert((1, 2), vec![(55, How::Done)]);
    });
}

#[test]
fn a_run_that_had_begun_and_is_given_back_is_found() {
    let release = |history: &mut History| {
        *last(history) = Change {
            attempt: (2, 1),
            ..run(change(5, "running", "pending"), (2, 2), 7)
        };
    };
    assert_breaks(Rule::OwnEnd, release);

    let mut history = healthy();
    release(&mut history);
    history.processes.insert(7, 4711);
    history.told_to_end.insert(4711);
    let found = check(&history, Moment::Underway);
    assert!(
        found.iter().all(|found| found.rule != Rule::OwnEnd),
        "{found:?}"
    );

    let mut history = healthy();
    release(&mut history);
    let lease = history.leases.get_mut(&7).unwrap();
    (lease[0].at, lease[0].expires_at, lease[0].is_over) = (49, 48, true);
    let found = check(&history, Moment::Underway);
    assert!(
        found.iter().all(|found| found.rule != Rule::OwnEnd),
        "{found:?}"
    );
}

#[test]
fn a_move_that_is_an_operators_and_made_by_nobody_is_found() {
    assert_breaks(Rule::LegalMoves, |history| {
        let cancelled = change(6, "pending", "cancelled");
        history.jobs.insert(9, vec![cancelled]);
    });
}

#[test]
fn an_answer_that_names_a_job_that_had_not_the_key_is_found() {
    let answer = |wanted, key: &str| {
        let fate = Fate::Committed {
            id: 1,
            inserted: false,
        };
        let intent = Intent {
            fate,
            wanted,
            key: Some(key.to_owned()),
            ..Intent::default()
        };
        move |history: &mut History| {
            history.intents.insert(101, intent);
        }
    };
    assert_breaks(Rule::CommittedRuns, answer((20, 30), "another"));
    assert_breaks(Rule::CommittedRuns, answer((20_000_000, 20_000_001), "key"));
    let mut history = healthy();
    answer((20, 30), "key")(&mut history);
    assert_eq!(check(&history, Moment::Drained), []);
}

#[test]
fn a_dead_job_with_retries_left_is_found() {
    let dead = |failure: &str| {
        let failure = Some(failure.to_owned());
        move |history: &mut History| {
            *last(history) = Change {
                failure,
                ..run(change(5, "running", "dead"), (2, 2), 7)
            };
        }
    };
    assert_breaks(Rule::DeadForReason, dead("error"));
    assert_breaks(Rule::DeadForReason, dead("lost"));
}

#[test]
fn two_holders_of_a_unique_key_are_found() {
    assert_breaks(Rule::UniqueKey, |history| {
        let insert = Change {
            number: 3,
            before: None,
            intent: Some(300),
            ..change(1, "", "pending")
        };
        history.jobs.insert(3, vec![insert]);
    });
}

#[test]
fn a_job_that_is_taken_before_its_lease_has_run_out_is_found() {
    assert_breaks(Rule::LeaseRespected, |history| {
        history.leases.get_mut(&6).unwrap()[0].expires_at = 1000;
    });
    assert_breaks(Rule::LeaseRespected, |history| {
        history.leases.get_mut(&6).unwrap()[0].is_over = false;
    });
}

#[test]
fn a_claim_of_more_than_fits_is_found() {
    assert_breaks(Rule::ClaimFits, |history| {
        for job in 10..20 {
            let claim = run(change(job, "pending", "running"), (0, 1), 7);
            history.jobs.insert(job, vec![claim]);
        }
    });
}

#[test]
fn a_move_that_is_none_and_a_change_that_nobody_saw_are_found() {
    assert_breaks(Rule::LegalMoves, |history| {
        *last(history) = run(change(5, "running", "running"), (2, 2), 7);
    });
    assert_breaks(Rule::LegalMoves, |history| {
        history.jobs.get_mut(&1).unwrap().remove(2);
    });
}

#[test]
fn a_run_that_begins_twice_or_was_never_claimed_is_found() {
    assert_breaks(Rule::RunBeginsOnce, |history| {
        history
            .began
            .insert((1, 2), vec![Began { at: 0, intent: 100 }; 2]);
    });
    assert_breaks(Rule::RunBeginsOnce, |history| {
        history
            .began
            .insert((1, 3), vec![Began { at: 0, intent: 100 }]);
    });
}

#[test]
fn more_handlers_at_once_than_a_queue_has_slots_are_found() {
    let five_jobs = |history: &mut History| {
        for job in 10..15 {
            let claim = run(change(job, "pending", "running"), (0, 1), 7);
            history.jobs.insert(job, vec![claim]);
            let began = Began {
                at: 10 * job + 1,
                intent: job,
            };
            history.began.insert((job, 1), vec![began]);
        }
    };
    assert_breaks(Rule::FitsSlots, five_jobs);
    assert_breaks(Rule::FitsSlots, |history| {
        five_jobs(history);
        history.left.insert((10, 1), 142);
    });
    let mut history = healthy();
    five_jobs(&mut history);
    // The first has gone when the fifth comes.
    history.left.insert((10, 1), 140);
    let found = check(&history, Moment::Underway);
    let fits = found.iter().all(|found| found.rule != Rule::FitsSlots);
    assert!(fits, "{found:?}");
}

#[test]
fn a_run_that_begins_beside_the_one_before_it_is_found_unless_that_had_lost_its_lease() {
    let overlap = |history: &mut History| {
        history.left.insert((1, 1), 60);
    };
    assert_breaks(Rule::OneRunAtATime, |history| {
        overlap(history);
        history.leases.remove(&6);
    });
    let mut history = healthy();
    overlap(&mut history);
    assert_eq!(check(&history, Moment::Drained), []);
}

#[test]
fn a_run_that_begins_beside_one_that_completed_is_found_unless_that_did_so_in_its_own_transaction()
{
    let completed_by = |statement: &str| {
        let mut history = healthy();
        history.left.insert((1, 1), 60);
        history.leases.remove(&6);
        let end = &mut history.jobs.get_mut(&1).unwrap()[2];
        end.after = Some("completed".to_owned());
        end.statement = statement.to_owned();
        let found = check(&history, Moment::Drained);
        found.iter().any(|found| found.rule == Rule::OneRunAtATime)
    };
    assert!(completed_by(FINISH));
    assert!(!completed_by(COMPLETE));
}

#[test]
fn what_a_producer_is_refused_is_found() {
    assert_breaks(Rule::NoErrors, |history| {
        history.refused.push("duplicate key".to_owned());
    });
}
