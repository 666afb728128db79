//! Does a world come to its end once nothing goes wrong any more? Asked of every world that was reached.
//!
//! From then on leases of the silent run out, statements are answered and handlers succeed, in turn. Who stands still or is
//! down stays so, unless there is nobody else: the others must do without him.

use super::super::protocol::event::{Event, Pick, position};
use super::super::protocol::job::Ending;
use super::super::protocol::process::{Mode, Process, Stage};
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
    if !world
        .processes
        .iter()
        .any(|process| process.mode == Mode::Up)
    {
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
    if let Some(pick) = pick(
        world,
        |process| process.claim.as_ref().is_some_and(|it| it.is_registered),
        p,
    ) {
        attempt(world, Event::Take(p, pick), rules);
    }
    attempt(world, Event::Answer(p), rules);
    for r in (0..world.processes[p].runs.len()).rev() {
        end_run(world, p, r, rules);
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
    if let Some(pick) = pick(world, Process::is_up, p) {
        attempt(world, Event::Claim(p, pick), rules);
        attempt(world, Event::Answer(p), rules);
    }
}

/// As far as it goes.
fn end_run(world: &mut World, p: usize, r: usize, rules: &Rules) {
    while let Some(run) = world.processes[p].runs.get(r) {
        let event = match run.stage {
            Stage::Runs => Event::End(p, r, Ending::Completed),
            Stage::Effect => Event::CommitEffect(p, r),
            Stage::Ended(_) => Event::Ack(p, r),
            Stage::Missed(_) => Event::ReadBack(p, r),
        };
        if !world.allows(event, rules) {
            return;
        }
        let was = run.stage;
        world.apply(event, rules);
        if world.processes[p]
            .runs
            .get(r)
            .is_none_or(|run| run.stage == was)
        {
            return;
        }
    }
}

/// The job that a claim takes, one that has lost a process first; nothing if the claim may take none.
fn pick(world: &World, may_take: impl Fn(&Process) -> bool, p: usize) -> Option<Pick> {
    let process = &world.processes[p];
    let is_open = process
        .claim
        .as_ref()
        .is_none_or(|claim| claim.taken.is_none());
    if !is_open {
        return None;
    }
    if !may_take(process) {
        return Some(Pick::Only(0));
    }
    let claimable = || {
        world
            .jobs
            .iter()
            .enumerate()
            .filter(|(_, job)| job.is_claimable())
    };
    let suspect = claimable().find(|(_, job)| job.lost > 0);
    let other = claimable().find(|(_, job)| job.lost == 0);
    Some(match (suspect, other) {
        (Some((job, _)), _) => Pick::Suspect(position(job)),
        (None, Some((job, _))) => Pick::Only(1 << job),
        (None, None) => Pick::Only(0),
    })
}

/// Is there a running job whose worker lives and does not know it, and that no reconcile will find?
///
/// What a worker has that is not registered is rescued; who stands still loses his lease, and who stops gives his up.
pub(super) fn is_abandoned(world: &World, rules: &Rules) -> bool {
    let mut jobs = world.jobs.iter().enumerate();
    jobs.any(|(index, job)| {
        let is_owner = |process: &&Process| job.claimed_by == Some(process.id);
        let owner = world.processes.iter().find(is_owner);
        owner.is_some_and(|owner| {
            let will_find = rules.reconciles && job.claim_batch <= Some(owner.ended_batch);
            let is_registered = world.is_registered(owner.id);
            owner.is_up() && is_registered && !knows(owner, index, job.token) && !will_find
        })
    })
}

/// Does the process have this run, or is it on its way there?
fn knows(process: &Process, job: usize, token: u8) -> bool {
    let claim = process.claim.as_ref();
    let taken = claim.and_then(|claim| claim.taken.as_ref());
    let mut known = process.runs.iter().chain(taken.into_iter().flatten());
    known.any(|run| usize::from(run.job) == job && run.token == token)
}
