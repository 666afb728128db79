//! The model as an oracle: random steps, done by the model and by PostgreSQL, and every row compared after each.
//!
//! [`reference`] chooses the steps, [`database`] does them with the texts of `pgqueue-core/src/sql` ([`texts`]) and the public
//! API, [`rows`] compares. [`mutations`] break one text each, and the oracle must notice. A failing case shrinks, and says by
//! which seed it comes again. `PROPTEST_CASES` sets how many cases are tried.

mod answer;
mod database;
mod mutations;
mod operator;
mod reference;
mod rows;
mod texts;

use std::cell::RefCell;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::atomic::Ordering;

use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};
use proptest_state_machine::ReferenceStateMachine;

use super::protocol::World;
use super::protocol::event::Event;
use database::Database;
use reference::Reference;
use texts::Texts;

const STEPS: usize = 60;

/// How the model and the database came to disagree: the steps, and the complaint after the last.
type Disagreement = Box<TestError<(World, Vec<Event>)>>;

/// Runs cases of [`STEPS`] steps until the two disagree.
fn compare(texts: Texts, cases: u32, shrinks: u32, seed: u64) -> Result<(), Disagreement> {
    let database = RefCell::new(Database::new(texts));
    let config = Config {
        cases,
        max_shrink_iters: shrinks,
        failure_persistence: None,
        ..Config::default()
    };
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let mut runner = TestRunner::new_with_rng(config, rng);
    let strategy = Reference::sequential_strategy(STEPS);
    let outcome = runner.run(&strategy, |(mut world, events, seen)| {
        let mut database = database.borrow_mut();
        database.begin(&world).map_err(TestCaseError::fail)?;
        for event in events {
            if let Some(seen) = seen.as_ref().filter(|_| shrinks > 0) {
                seen.fetch_add(1, Ordering::SeqCst);
            }
            let next = Reference::apply(world.clone(), &event);
            let done = database.step(&world, &next, event);
            done.map_err(|complaint| TestCaseError::fail(format!("{event:?}: {complaint}")))?;
            world = next;
        }
        Ok(())
    });
    outcome.map_err(|error| {
        Box::new(match error {
            TestError::Abort(reason) => TestError::Abort(reason),
            TestError::Fail(reason, (world, events, _)) => TestError::Fail(reason, (world, events)),
        })
    })
}

#[test]
fn every_row_is_as_the_model_says_after_each_step() {
    let seed = std::env::var("PGQUEUE_MODEL_SEED").ok();
    let seed = seed.map(|seed| seed.parse().expect("PGQUEUE_MODEL_SEED is a number"));
    let seed: u64 = seed.unwrap_or_else(|| RandomState::new().build_hasher().finish());
    let Config { cases, .. } = Config::default(); // of PROPTEST_CASES

    let compared = compare(Texts::as_they_are(), cases, 2000, seed);

    if let Err(error) = compared {
        panic!(
            "{}\nagain: PGQUEUE_MODEL_SEED={seed} PROPTEST_CASES={cases} cargo test --test model every_row",
            told(&error)
        );
    }
}

fn told(error: &Disagreement) -> String {
    match &**error {
        TestError::Abort(reason) => format!("no case could be made: {reason}"),
        TestError::Fail(reason, (_, events)) => {
            let events: Vec<String> = events.iter().map(|event| format!("  {event:?}")).collect();
            format!(
                "{reason}\nafter these steps, the last of which disagrees:\n{}",
                events.join("\n")
            )
        }
    }
}
