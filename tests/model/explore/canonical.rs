//! Worlds that differ only in names are one: names of processes, ids of workers, numbers of claims, tokens.
//!
//! Sound, because a step asks of each of these only whether two are equal or, of claims, which is older; and an id, a number
//! or a token that nobody remembers cannot be told from a new one. What happened is audited before the names change.

use super::super::protocol::World;
use super::super::protocol::event::position;
use super::super::protocol::job::Ending;
use super::super::protocol::process::{Process, Stage};
use super::super::protocol::rules::{Fence, Rules};

pub(super) fn of(mut world: World, rules: &Rules) -> World {
    for job in &mut world.jobs {
        job.errors.clear(); // no step reads them
    }
    forget(
        &mut world,
        rules.fence == Fence::Token && rules.fence_of_effects == Fence::Token,
    );
    order_processes(&mut world);
    rename_workers(&mut world);
    for job in 0..world.jobs.len() {
        rename_tokens(&mut world, job);
    }
    rename_batches(&mut world);
    world
}

/// Of a run that is not the current one any more nothing counts but that it is known; of the id that claimed a run, whether
/// the process still has it.
fn forget(world: &mut World, is_fenced: bool) {
    let jobs = &world.jobs;
    for process in &mut world.processes {
        let id = process.id;
        let taken = process
            .claim
            .iter_mut()
            .filter_map(|claim| claim.taken.as_mut());
        for run in process.runs.iter_mut().chain(taken.flatten()) {
            if run.worker != id {
                run.worker = 0;
            }
            if is_fenced && run.token != jobs[usize::from(run.job)].token {
                run.attempt = 0;
                run.stage = match run.stage {
                    Stage::Ended(_) => Stage::Ended(Ending::Completed),
                    Stage::Missed(_) => Stage::Missed(Ending::Completed),
                    stage => stage,
                };
            }
        }
        process.runs.sort_unstable();
    }
}

/// By all they are but their ids. A lock names its process by position.
fn order_processes(world: &mut World) {
    let key = |process: &Process| {
        let runs: Vec<_> = process
            .runs
            .iter()
            .map(|run| (run.job, run.token, run.stage))
            .collect();
        let claim = process.claim.as_ref();
        let claim = claim.map(|it| {
            (
                it.batch,
                it.is_registered,
                it.is_given_up,
                it.taken.is_some(),
            )
        });
        (
            process.mode,
            runs,
            claim,
            process.reconcile.is_some(),
            process.pinned.is_some(),
        )
    };
    let mut order: Vec<usize> = (0..world.processes.len()).collect();
    order.sort_by_cached_key(|&p| (key(&world.processes[p]), owned(world, p)));
    if order.is_sorted() {
        return;
    }
    for job in &mut world.jobs {
        job.locked_by = job.locked_by.map(|p| {
            let place = order.iter().position(|&old| old == usize::from(p));
            position(place.expect("invariant: a lock's holder is a process"))
        });
    }
    world.processes = order.iter().map(|&p| world.processes[p].clone()).collect();
}

/// What the rows say of a process, without its id.
fn owned(world: &World, p: usize) -> (bool, bool, u8) {
    let id = world.processes[p].id;
    let mut jobs = 0;
    for (index, job) in world.jobs.iter().enumerate() {
        jobs |= u8::from(job.claimed_by == Some(id)) << index;
    }
    (world.is_registered(id), world.has_expired(id), jobs)
}

/// In the order in which processes, jobs and rows name them.
fn rename_workers(world: &mut World) {
    let mut names = Names::default();
    for process in &world.processes {
        names.meet(process.id);
        process.runs.iter().for_each(|run| names.meet(run.worker));
        if let Some(claim) = &process.claim {
            names.meet(claim.worker);
            claim
                .taken
                .iter()
                .flatten()
                .for_each(|run| names.meet(run.worker));
        }
        process
            .reconcile
            .iter()
            .for_each(|it| names.meet(it.worker));
    }
    world
        .jobs
        .iter()
        .filter_map(|job| job.claimed_by)
        .for_each(|id| names.meet(id));
    let mut others: Vec<_> = world
        .rows
        .iter()
        .map(|row| (row.has_expired, row.id))
        .collect();
    others.sort_unstable();
    others.iter().for_each(|(_, id)| names.meet(*id));

    for process in &mut world.processes {
        process.id = names.of(process.id);
        for run in &mut process.runs {
            run.worker = names.of(run.worker);
        }
        if let Some(claim) = &mut process.claim {
            claim.worker = names.of(claim.worker);
            for run in claim.taken.iter_mut().flatten() {
                run.worker = names.of(run.worker);
            }
        }
        if let Some(reconcile) = &mut process.reconcile {
            reconcile.worker = names.of(reconcile.worker);
        }
        if let Some(pinned) = &mut process.pinned {
            // One that no row and no process has any more will not be met again.
            names.translate(&mut pinned.owners);
            names.translate(&mut pinned.seen);
        }
        // To take nobody's jobs changes nothing.
        process.pinned = process
            .pinned
            .take()
            .filter(|it| !it.owners.is_empty() || !it.jobs.is_empty());
    }
    for job in &mut world.jobs {
        job.claimed_by = job.claimed_by.map(|id| names.of(id));
    }
    for row in &mut world.rows {
        row.id = names.of(row.id);
    }
    world.rows.sort_unstable();
    world.next_id = position(names.0.len()) + 1;
}

/// Old names, each at its new one less one.
#[derive(Default)]
struct Names(Vec<u8>);

impl Names {
    fn meet(&mut self, old: u8) {
        if old != 0 && !self.0.contains(&old) {
            self.0.push(old);
        }
    }

    fn of(&self, old: u8) -> u8 {
        let place = self.0.iter().position(|name| *name == old);
        place.map_or(0, |place| position(place) + 1)
    }

    fn translate(&self, names: &mut Vec<u8>) {
        names.retain(|name| self.0.contains(name));
        names.iter_mut().for_each(|name| *name = self.of(*name));
        names.sort_unstable();
    }
}

/// The tokens of a job that are remembered, from one; zero was never claimed.
fn rename_tokens(world: &mut World, job: usize) {
    let is_of_job = |run: &u8| usize::from(*run) == job;
    let mut tokens = vec![world.jobs[job].token];
    for process in &world.processes {
        let taken = process
            .claim
            .iter()
            .filter_map(|claim| claim.taken.as_ref());
        let runs = process.runs.iter().chain(taken.flatten());
        tokens.extend(runs.filter(|run| is_of_job(&run.job)).map(|run| run.token));
    }
    tokens.sort_unstable();
    tokens.dedup();
    let renamed = |token: u8| {
        let place = tokens.iter().position(|it| *it == token);
        position(place.expect("invariant: every token was met")) + u8::from(tokens[0] > 0)
    };
    world.jobs[job].token = renamed(world.jobs[job].token);
    for process in &mut world.processes {
        let taken = process
            .claim
            .iter_mut()
            .filter_map(|claim| claim.taken.as_mut());
        for run in process.runs.iter_mut().chain(taken.flatten()) {
            if is_of_job(&run.job) {
                run.token = renamed(run.token);
            }
        }
    }
}

/// The numbers of claims that a process or its rows remember, from zero. Those of an id that no process has are of no use.
fn rename_batches(world: &mut World) {
    for job in &mut world.jobs {
        let mut processes = world.processes.iter();
        let is_asked_for = |id: u8| {
            processes.any(|process| {
                let reconciles = process.reconcile.as_ref().is_some_and(|it| it.worker == id);
                let claims = process.claim.as_ref().is_some_and(|it| it.worker == id);
                process.id == id || reconciles || claims
            })
        };
        if !job.claimed_by.is_some_and(is_asked_for) {
            job.claim_batch = job.claim_batch.map(|_| 0);
        }
    }
    for p in 0..world.processes.len() {
        rename_batches_of(world, p);
    }
}

fn rename_batches_of(world: &mut World, p: usize) {
    let process = &mut world.processes[p];
    let ids: Vec<u8> = [
        Some(process.id),
        process.reconcile.as_ref().map(|it| it.worker),
        process.claim.as_ref().map(|it| it.worker),
    ]
    .into_iter()
    .flatten()
    .collect();
    let jobs = || 0..world.jobs.len();
    let mine = |job: usize| {
        world.jobs[job]
            .claimed_by
            .is_some_and(|id| ids.contains(&id))
    };
    let mut met: Vec<u8> = vec![process.batch, process.ended_batch];
    met.extend(process.claim.as_ref().map(|it| it.batch));
    met.extend(process.reconcile.as_ref().map(|it| it.ended_batch));
    met.extend(
        jobs()
            .filter(|&job| mine(job))
            .filter_map(|job| world.jobs[job].claim_batch),
    );
    met.sort_unstable();
    met.dedup();
    let renamed = |batch: u8| {
        let place = met.iter().position(|it| *it == batch);
        if batch == u8::MAX {
            batch
        } else {
            position(place.expect("invariant: every batch was met"))
        }
    };
    let of_jobs: Vec<(usize, Option<u8>)> = jobs()
        .filter(|&job| mine(job))
        .map(|job| (job, world.jobs[job].claim_batch.map(renamed)))
        .collect();
    process.batch = renamed(process.batch);
    process.ended_batch = renamed(process.ended_batch);
    if let Some(claim) = &mut process.claim {
        claim.batch = renamed(claim.batch);
    }
    if let Some(reconcile) = &mut process.reconcile {
        reconcile.ended_batch = renamed(reconcile.ended_batch);
    }
    for (job, batch) in of_jobs {
        world.jobs[job].claim_batch = batch;
    }
}
