//! Plays scenarios in all their orders, under all settings.

use std::io::Write;

use super::play::{Tally, play};
use super::script::Scenario;
use super::settings::{ISOLATIONS, Isolation, PLANNERS};
use super::stage::Stage;
use super::{cancels, claims, ends, keys, purges, reapers};

/// So many orders of each scenario are played under each planner setting: others under each, and in all of them all.
const ORDERS_A_PLANNER: usize = 6;

/// Plays every order under every isolation, and a part of them under each planner setting, with read committed.
pub(crate) async fn holds(scenario: Scenario) {
    let orders = scenario.orders();
    let mut tally = Tally::default();
    for isolation in ISOLATIONS {
        let stage = Stage::of(&scenario, isolation).await;
        for order in &orders {
            let played = play(&stage, &scenario, order, &mut tally).await;
            must(isolation.name(), played);
        }
        if isolation == Isolation::ReadCommitted {
            under_planners(&stage, &scenario, &orders, &mut tally).await;
        }
    }
    tell(&scenario, orders.len(), tally);
}

fn must(setting: &str, played: Result<(), String>) {
    if let Err(broken) = played {
        panic!("under {setting}: {broken}");
    }
}

/// Tells past the test harness, which keeps what is printed, how much was played.
fn tell(scenario: &Scenario, orders: usize, tally: Tally) {
    say(&format!(
        "{}: {orders} orders, {} played; {} steps waited, {} transactions ran again",
        scenario.name, tally.orders, tally.waits, tally.again
    ));
}

fn say(line: &str) {
    let line = format!("interleavings: {line}\n");
    std::io::stderr().write_all(line.as_bytes()).unwrap();
}

async fn under_planners(
    stage: &Stage,
    scenario: &Scenario,
    orders: &[Vec<usize>],
    tally: &mut Tally,
) {
    for (place, planner) in PLANNERS.iter().enumerate() {
        stage.plan(planner).await;
        for order in chosen(orders, place) {
            let played = play(stage, scenario, order, tally).await;
            must(&planner.name(), played);
        }
    }
}

/// Gives the orders that are played under a planner setting: evenly spread, and others under the next one.
fn chosen(orders: &[Vec<usize>], place: usize) -> impl Iterator<Item = &Vec<usize>> {
    let wants_all = std::env::var("PGQUEUE_INTERLEAVINGS").is_ok_and(|value| value == "all");
    let most = if wants_all {
        orders.len()
    } else {
        ORDERS_A_PLANNER
    };
    let stride = (orders.len() / most).max(1);
    orders.iter().skip(place % stride).step_by(stride)
}

/// Looks for an order that breaks a rule, as the engine plans and as the server does by itself.
pub(crate) async fn first_violation(scenario: Scenario) -> Option<String> {
    let stage = Stage::of(&scenario, Isolation::ReadCommitted).await;
    for planner in [None, Some(&PLANNERS[0])] {
        if let Some(planner) = planner {
            stage.plan(planner).await;
        }
        for order in &scenario.orders() {
            let played = play(&stage, &scenario, order, &mut Tally::default()).await;
            if let Err(broken) = played {
                return Some(broken);
            }
        }
    }
    None
}

#[test]
fn there_are_hundreds_of_orders() {
    let all = [
        claims::all(),
        ends::all(),
        reapers::all(),
        cancels::all(),
        keys::all(),
        purges::all(),
    ];
    let orders: Vec<usize> = all.iter().flatten().map(|one| one.orders().len()).collect();
    let (scenarios, sum) = (orders.len(), orders.iter().sum::<usize>());

    say(&format!(
        "{scenarios} scenarios of {sum} orders, under {} isolations and {} planner settings",
        ISOLATIONS.len(),
        PLANNERS.len()
    ));
    assert!(sum >= 400);
    let under_none = |&&orders: &&usize| orders / ORDERS_A_PLANNER > PLANNERS.len();
    assert_eq!(orders.iter().find(under_none), None);
}
