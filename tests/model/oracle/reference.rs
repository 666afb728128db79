//! Chooses the steps: whatever the model allows, the ordinary more often than misfortunes.

use proptest::prelude::{BoxedStrategy, Just, Strategy};
use proptest::strategy::Union;
use proptest_state_machine::ReferenceStateMachine;

use super::super::protocol::event::{Event, Pick, position};
use super::super::protocol::job::{Ending, State};
use super::super::protocol::rules::{RULES, Rules};
use super::super::protocol::{Budget, World};

const PROCESSES: usize = 3;
pub(super) const RULES_HERE: Rules = Rules { slots: 3, ..RULES };
/// Enough to order, few enough to meet again.
pub(super) const JOBS: usize = 6;

const ENDINGS: [(u32, Ending); 7] = [
    (2, Ending::Completed),
    (3, Ending::Failed),
    (1, Ending::FailedForLater),
    (1, Ending::Snoozed),
    (1, Ending::Dead),
    (6, Ending::Cancelled),
    (1, Ending::Released),
];

#[derive(Debug)]
pub(super) struct Reference;

impl ReferenceStateMachine for Reference {
    type State = World;
    type Transition = Event;

    fn init_state() -> BoxedStrategy<World> {
        Just(World::new(Vec::new(), PROCESSES, Budget::unlimited())).boxed()
    }

    fn transitions(world: &World) -> BoxedStrategy<Event> {
        let mut events = events(world);
        events.retain(|(_, event)| world.allows(*event, &RULES_HERE));
        let steps = events
            .into_iter()
            .map(|(weight, event)| (weight, Just(event)));
        Union::new_weighted(steps.collect()).boxed()
    }

    fn apply(world: World, event: &Event) -> World {
        let later = World {
            clock: world.clock + 1,
            ..world
        };
        later.after(*event, &RULES_HERE)
    }

    fn preconditions(world: &World, event: &Event) -> bool {
        world.allows(*event, &RULES_HERE)
    }
}

/// All that might happen, allowed or not, by weight.
fn events(world: &World) -> Vec<(u32, Event)> {
    let mut events = Vec::new();
    for p in 0..world.processes.len() {
        add_claims(world, p, &mut events);
        for r in 0..world.processes[p].runs.len() {
            add_run(p, r, &mut events);
        }
        add_process(p, &mut events);
    }
    for row in &world.rows {
        let mut processes = world.processes.iter();
        let beats = processes.any(|process| process.id == row.id && process.is_awake());
        events.push((if beats { 2 } else { 20 }, Event::RunOut(row.id)));
    }
    for job in 0..world.jobs.len() {
        let has_ended = !world.jobs[job].state.is_active();
        let waits = world.jobs[job].state == State::Pending && world.jobs[job].due.is_none();
        events.extend([
            (1, Event::Cancel(job)),
            (if has_ended { 6 } else { 1 }, Event::Requeue(job)),
            (if waits { 8 } else { 1 }, Event::RunNow(job)),
            (1, Event::Purge(job)),
        ]);
    }
    if world.jobs.len() < JOBS {
        add_enqueues(&mut events);
    }
    events
}

fn add_enqueues(events: &mut Vec<(u32, Event)>) {
    for key in [None, None, None, Some(1)] {
        for priority in [4, 5] {
            let enqueue = |max_retries| (3, Event::Enqueue(key, priority, max_retries));
            events.extend([0, 1, 3, 4].map(enqueue));
        }
    }
}

fn add_claims(world: &World, p: usize, events: &mut Vec<(u32, Event)>) {
    let free = position(world.processes[p].free_slots(RULES_HERE.slots));
    for ahead in 0..=2 {
        let most = free + ahead;
        events.push((6, Event::Claim(p, Pick::First { most, free })));
    }
    let mut runs = world.processes[p].runs.iter();
    if !runs.any(|run| world.jobs[usize::from(run.job)].lost > 0) {
        events.push((8, Event::Claim(p, Pick::FirstSuspect)));
    }
    events.extend([(30, Event::Answer(p)), (4, Event::LoseAnswer(p))]);
}

fn add_run(p: usize, r: usize, events: &mut Vec<(u32, Event)>) {
    events.extend(ENDINGS.map(|(weight, ending)| (weight, Event::End(p, r, ending))));
    events.extend([
        (5, Event::OpenEffect(p, r)),
        (10, Event::CommitEffect(p, r)),
        (2, Event::CommitUnanswered(p, r)),
        (2, Event::RollBack(p, r)),
        (20, Event::SendAck(p, r)),
        (3, Event::AckUnanswered(p, r)),
        (20, Event::ReadBack(p, r)),
    ]);
}

fn add_process(p: usize, events: &mut Vec<(u32, Event)>) {
    events.extend([
        (8, Event::Beat(p)),
        (3, Event::Pause(p)),
        (4, Event::Resume(p)),
        (3, Event::Crash(p)),
        (10, Event::Start(p)),
        (1, Event::Stop(p)),
        (10, Event::Leave(p)),
        (20, Event::Expire(p)),
        (20, Event::Pin(p)),
        (20, Event::Rescue(p)),
        (6, Event::BeginReconcile(p)),
        (10, Event::EndReconcile(p)),
    ]);
}
