//! Every order of the events of some worlds is tried, and in each no job may wait longer than is promised.
//!
//! While the mark is set, a job waits for a timer only if its transaction straddles; then for about as long as that took.
//! While it is clear, some worker polls. So that this test can fail, each rule of the protocol is broken in turn.

use std::collections::HashSet;
use std::fmt;

use super::model::{
    BUSY_POLL, Event, FIRST_REPOLL, POLL, Producer, RULES, Rules, SLOW, STALLED, World,
};
use super::worker::PLENTY;

/// When every promise has come due.
const END: u64 = 1500;
/// When the worlds begin: a mark that was set at zero may be changed.
const START: u64 = 200;

/// How late a job may be.
#[derive(Debug, Clone, Copy)]
enum Promise {
    /// Straddling, about the length of its transaction; otherwise a busy worker's poll.
    Transaction,
    /// The same, a moment later.
    Delayed,
    /// Until a worker without a free slot sets the mark, the second time that it looks at the latest: a mark is not set sooner
    /// than a tenth of a second after it was cleared. Straddling, until it has asked the others to re-poll, too.
    Stalled,
    /// The poll interval.
    Poll,
}

impl Promise {
    fn late(self, looked_at: u64, at: u64, straddles: bool) -> u64 {
        match self {
            Self::Transaction if straddles => at - looked_at + FIRST_REPOLL,
            Self::Transaction => BUSY_POLL,
            Self::Delayed => Self::Transaction.late(looked_at, at, straddles) + SLOW,
            Self::Stalled if straddles => Self::Transaction
                .late(looked_at, at, true)
                .max(2 * STALLED + FIRST_REPOLL),
            Self::Stalled => 2 * STALLED,
            Self::Poll => POLL,
        }
    }
}

/// What led to a job that waits too long.
struct Counterexample {
    events: Vec<(u64, Event)>,
    world: World,
    complaint: &'static str,
}

impl fmt::Debug for Counterexample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} after", self.complaint)?;
        for (at, event) in &self.events {
            writeln!(f, "{at:>6} ms {event:?}")?;
        }
        write!(f, "in {:#?}", self.world)
    }
}

/// Tries every order; gives how many worlds there are.
fn explore(start: World, promise: Promise, rules: Rules) -> Result<usize, Box<Counterexample>> {
    let mut seen = HashSet::new();
    let mut path: Vec<(u64, Event)> = Vec::new();
    let mut open = vec![(start, 0, None)];
    while let Some((world, depth, came_by)) = open.pop() {
        path.truncate(depth);
        path.extend(came_by);
        for event in world.events() {
            if let Some(complaint) = complaint(&world, event, promise) {
                return Err(Box::new(Counterexample {
                    events: path,
                    world,
                    complaint,
                }));
            }
            let next = world.after(event, rules);
            if !is_over(&next) && seen.insert(next.clone()) {
                open.push((next, path.len(), Some((world.now, event))));
            }
        }
    }
    Ok(seen.len())
}

fn is_over(world: &World) -> bool {
    let mut producers = world.producers.iter();
    world.now >= END || producers.all(|producer| *producer == Producer::Claimed)
}

/// Tells what is wrong with waiting now, if anything is.
fn complaint(world: &World, event: Event, promise: Promise) -> Option<&'static str> {
    if event != Event::Tick {
        return None;
    }
    let until = world.wakes_at();
    world.producers.iter().find_map(|producer| match producer {
        Producer::Committed {
            straddles: false, ..
        } if world.wanted => Some("the mark is set, and nobody was woken"),
        Producer::Committed {
            looked_at,
            at,
            straddles,
        } if until > at + promise.late(*looked_at, *at, *straddles) => Some("it waits too long"),
        _ => None,
    })
}

fn assert_kept(start: World, promise: Promise) {
    match explore(start, promise, RULES) {
        Ok(worlds) => assert!(worlds > 100, "only {worlds} worlds: this tries nothing"),
        Err(found) => panic!("{found:?}"),
    }
}

fn assert_broken(start: World, promise: Promise, rules: Rules, expected: &str) {
    let found = explore(start, promise, rules).expect_err("the rule is needed");
    assert_eq!(found.complaint, expected, "{found:?}");
}

const LOST: &str = "the mark is set, and nobody was woken";
const LATE: &str = "it waits too long";

/// A worker that starts and falls asleep.
fn starting(producers: usize) -> World {
    World::new(START, producers).with_new()
}

/// A worker that has cleared its mark and comes to the end of its backlog.
fn calming(producers: usize) -> World {
    World::new(START, producers).with_flooded(PLENTY)
}

/// One that sleeps while another clears the mark, which has so many free slots left.
fn two(producers: usize, slots: usize) -> World {
    World::new(START, producers)
        .with_idle(POLL - 10)
        .with_flooded(slots)
}

/// One that sleeps, and polls in less than [`SLOW`]; who cleared the mark is dead.
fn abandoned(producers: usize) -> World {
    World {
        wanted: false,
        ..World::new(START, producers).with_idle(SLOW - 10)
    }
}

#[test]
fn no_job_is_missed_by_a_worker_that_falls_asleep() {
    assert_kept(starting(2), Promise::Transaction);
}

#[test]
fn no_job_is_missed_by_two_workers_that_start_at_once() {
    assert_kept(
        World::new(START, 1).with_new().with_new(),
        Promise::Transaction,
    );
}

#[test]
fn no_job_is_missed_by_a_worker_whose_flood_ends() {
    assert_kept(calming(2), Promise::Transaction);
}

#[test]
fn no_job_is_missed_by_two_workers_of_which_one_clears_the_mark() {
    assert_kept(two(2, PLENTY), Promise::Transaction);
}

#[test]
fn a_statement_that_takes_long_delays_a_job_by_as_much_at_most() {
    for start in [starting(1), calming(1), two(1, PLENTY)] {
        assert_kept(World { slow: 1, ..start }, Promise::Delayed);
    }
}

#[test]
fn a_worker_without_free_slots_leaves_its_jobs_to_the_others() {
    assert_kept(two(2, 0), Promise::Stalled);
}

#[test]
fn a_worker_whose_slots_fill_up_leaves_its_jobs_to_the_others() {
    assert_kept(two(2, 1), Promise::Stalled);
}

#[test]
fn a_full_worker_that_re_polls_for_nothing_and_asks_nobody_leaves_straddling_jobs_waiting() {
    let rules = Rules {
        asks_others: false,
        ..RULES
    };
    assert_broken(two(1, 0), Promise::Stalled, rules, LATE);
    assert_broken(two(2, 1), Promise::Stalled, rules, LATE);
}

#[test]
fn a_worker_that_dies_leaves_its_jobs_to_the_others_poll() {
    for slots in [PLENTY, 1, 0] {
        let start = World {
            mortal: 1,
            ..two(1, slots)
        };
        assert_kept(start, Promise::Poll);
    }
}

#[test]
fn a_poll_sets_the_mark_that_a_dead_worker_cleared() {
    assert_kept(abandoned(2), Promise::Delayed);
}

/// Setting a mark wakes its setter, too, as does the begin of listening, and so hides in which order it claims. A worker that
/// listens and is alone does without.
#[test]
fn a_mark_set_after_the_claim_loses_a_wake_up() {
    let silent = Rules {
        set_wakes: false,
        ..RULES
    };
    let rules = Rules {
        mark_before_claim: false,
        ..silent
    };
    assert!(explore(calming(1), Promise::Transaction, silent).is_ok());
    assert_broken(calming(1), Promise::Transaction, rules, LOST);
}

#[test]
fn without_repolls_a_straddling_job_waits_for_a_poll() {
    let rules = Rules {
        repolls: false,
        ..RULES
    };
    assert_broken(starting(1), Promise::Transaction, rules, LATE);
    assert_broken(calming(1), Promise::Transaction, rules, LATE);
}

#[test]
fn a_worker_that_clears_the_mark_and_sleeps_leaves_jobs_waiting() {
    let rules = Rules {
        busy_poll: false,
        ..RULES
    };
    assert_broken(calming(1), Promise::Transaction, rules, LATE);
    assert_broken(two(1, PLENTY), Promise::Transaction, rules, LATE);
}

#[test]
fn a_full_worker_that_leaves_the_mark_cleared_leaves_jobs_waiting() {
    let rules = Rules {
        stalled_sets: false,
        ..RULES
    };
    assert_broken(two(1, 0), Promise::Stalled, rules, LATE);
}

#[test]
fn a_mark_that_is_set_in_silence_loses_what_was_committed_while_it_was_clear() {
    let rules = Rules {
        set_wakes: false,
        ..RULES
    };
    assert_broken(two(1, 0), Promise::Stalled, rules, LOST);
}

#[test]
fn without_renewal_a_mark_that_a_dead_worker_cleared_stays_cleared() {
    let rules = Rules {
        renews: false,
        ..RULES
    };
    assert_broken(abandoned(1), Promise::Delayed, rules, LATE);
}

#[test]
fn a_listener_that_begins_in_silence_loses_what_was_announced_before() {
    let rules = Rules {
        listen_wakes: false,
        ..RULES
    };
    assert_broken(starting(1), Promise::Transaction, rules, LOST);
}
