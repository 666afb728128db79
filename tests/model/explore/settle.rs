//! Does a world come to its end once nothing goes wrong any more? Asked of every world that was reached.
//!
//! From then on leases of the silent run out, statements are answered and handlers succeed, in turn. Who stands still or is
//! down stays so, unless there is nobody else: the others must do without him.

use super::super::protocol::event::{Event, Pick, position};
use super::super::protocol::job::{Ending, State};
use super::super::protocol::process::Mode;
use super::super::protocol::rules::Rules;
use super::super::protocol::{Budget, World};

/// More than any world needs: lease, rescue, and two runs one after the other.
const ROUNDS: usize = 8;

pub(super) fn settles(world: &World, rules: &Rules) -> bool {
    if world.is_over() || !world.wrongs.is_empty() {
        return true; // what is wrong is told elsewhere
    }
    let mut world = world.clone();
    world.budget = Budget::default();
    for _ in 0..ROUNDS {
        round(&mut world, rules);
        if world.is_over() {
            return true;
        }
    }
    false
}

fn round(world: &mut World, rules: &Rules) {
    if !world.processes.iter().any(|process| process.mode == Mode::Up) {
        attempt(world, Event::Resume(0), rules);
        attempt(world, Event::Start(0), rules);
    }
    let ids: Vec<u8> = world.rows.iter().map(|row| row.id).collect();
    for id in ids {
        attempt(world, Event::RunOut(id), rules);
    }
    for p in 0..world.processes.len() {
        if world.processes[p].is_awake() {
            turn(world, p, rules);
        } else {
            for r in 0..world.processes[p].runs.len() {
                attempt(world, Event::RollBack(p, r), rules);
            }
        }
    }
}

fn attempt(world: &mut World, event: Event, rules: &Rules) {
    if world.allows(event, rules) {
        world.apply(event, rules);
    }
}

/// One of each thing that a process does.
fn turn(world: &mut World, p: usize, rules: &Rules) {
    attempt(world, Event::Beat(p), rules);
    finish_claim(world, p, rules);
    for r in (0..world.processes[p].runs.len()).rev() {
        for event in [
            Event::End(p, r, Ending::Completed),
            Event::CommitEffect(p, r),
            Event::Ack(p, r),
        ] {
            attempt(world, event, rules);
            if r >= world.processes[p].runs.len() {
                break;
            }
        }
        if r < world.processes[p].runs.len() {
            attempt(world, Event::ReadBack(p, r), rules);
        }
    }
    for event in [
        Event::Expire(p),
        Event::Pin(p),
        Event::Rescue(p),
        Event::EndReconcile(p),
        Event::Reconcile(p),
        Event::Leave(p),
    ] {
        attempt(world, event, rules);
    }
    let jobs = position(world.jobs.len());
    let suspects = (0..jobs).map(Pick::Suspect);
    for pick in suspects.chain((0..jobs).map(|job| Pick::Only(1 << job))) {
        attempt(world, Event::Claim(p, pick), rules);
    }
    attempt(world, Event::Answer(p), rules);
}

fn finish_claim(world: &mut World, p: usize, rules: &Rules) {
    if world.processes[p].claim.is_none() {
        return;
    }
    let jobs = position(world.jobs.len());
    let suspects = (0..jobs).map(Pick::Suspect);
    let picks = suspects.chain((0..jobs).map(|job| Pick::Only(1 << job)));
    for pick in picks.chain([Pick::Only(0)]) {
        attempt(world, Event::Take(p, pick), rules);
    }
    attempt(world, Event::Answer(p), rules);
}

/// Is there a running job that nobody has, will hear of, finds forgotten, or takes from the silent?
pub(super) fn is_abandoned(world: &World, rules: &Rules) -> bool {
    let mut jobs = world.jobs.iter().enumerate();
    jobs.any(|(index, job)| {
        job.state == State::Running
            && job.claimed_by.is_some_and(|owner| {
                let mut processes = world.processes.iter();
                let process = processes.find(|process| process.id == owner && process.is_awake());
                process.is_some_and(|process| {
                    let runs = process.runs.iter();
                    let claim = process.claim.as_ref().and_then(|claim| claim.taken.as_ref());
                    let mut known = runs.chain(claim.into_iter().flatten());
                    let knows = known.any(|run| usize::from(run.job) == index && run.token == job.token);
                    let is_found = rules.reconciles && process.mode == Mode::Up;
                    let leaves = process.mode == Mode::Stopping;
                    world.is_registered(owner) && !knows && !is_found && !leaves
                })
            })
    })
}

