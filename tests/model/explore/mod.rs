//! Every order of the protocol's steps, tried by stateright on two jobs and three workers.
//!
//! [`canonical`] makes worlds equal that differ only in names; [`settle`] tells whether a world comes to its end once
//! nothing goes wrong any more. [`kept`] holds the explorations, [`broken`] those with a rule missing.

mod broken;
mod canonical;
mod kept;
mod settle;

use stateright::{Model, Property};

use super::protocol::World;
use super::protocol::audit::Wrong;
use super::protocol::event::{Event, Pick, position};
use super::protocol::job::{Ending, Job};
use super::protocol::process::{Mode, Stage};
use super::protocol::rules::Rules;

/// Where an exploration begins, and by which rules it goes.
#[derive(Debug, Clone)]
struct Protocol {
    start: World,
    rules: Rules,
    /// How handlers end by themselves.
    endings: &'static [Ending],
}

const ENDED_TWICE: &str = "I3: at most one end of a run is accepted";
const EFFECT_REPEATED: &str = "I4: an effect of complete_in happens once, and ends its job";
const TOKEN_JUMPED: &str = "I5: the token goes up by one at each claim, and never else";
const STALE_END: &str = "I6: an accepted end carries the current token";
const DIED_EARLY: &str =
    "I7: a job is dead when attempts or losses are used up, or by its handler's word";
const KEY_SHARED: &str = "I8: a unique key has one pending or running job";
const MISCOUNTED: &str = "I9: the attempt is the number of claims less releases";
const ABANDONED: &str = "I10: somebody can move every running job";
const CLAIMED_TWICE: &str = "a claim takes a job that nobody has";
const ROBBED: &str = "nobody takes a job from a worker that is registered and knows it";
const STUCK: &str = "once nothing goes wrong any more, every job ends";

impl Model for Protocol {
    type State = World;
    type Action = Event;

    fn init_states(&self) -> Vec<World> {
        vec![canonical::of(self.start.clone(), &self.rules)]
    }

    fn actions(&self, world: &World, actions: &mut Vec<Event>) {
        if world.wrongs.is_empty() {
            self.add_events(world, actions);
            actions.retain(|event| world.allows(*event, &self.rules));
        }
    }

    fn next_state(&self, world: &World, event: Event) -> Option<World> {
        Some(canonical::of(world.after(event, &self.rules), &self.rules))
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(ENDED_TWICE, |_, world: &World| {
                !world.wrongs.has(Wrong::EndedTwice)
            }),
            Property::always(EFFECT_REPEATED, |_, world: &World| {
                !world.wrongs.has(Wrong::EffectRepeated)
            }),
            Property::always(TOKEN_JUMPED, |_, world: &World| {
                !world.wrongs.has(Wrong::TokenJumped)
            }),
            Property::always(STALE_END, |_, world: &World| {
                !world.wrongs.has(Wrong::StaleEnd)
            }),
            Property::always(DIED_EARLY, |_, world: &World| {
                !world.wrongs.has(Wrong::DiedEarly)
            }),
            Property::always(KEY_SHARED, |_, world: &World| !shares_key(world)),
            Property::always(MISCOUNTED, |_, world: &World| {
                !world.wrongs.has(Wrong::Miscounted)
            }),
            Property::always(ABANDONED, |protocol: &Self, world: &World| {
                !settle::is_abandoned(world, &protocol.rules)
            }),
            Property::always(CLAIMED_TWICE, |_, world: &World| {
                !world.wrongs.has(Wrong::ClaimedTwice)
            }),
            Property::always(ROBBED, |_, world: &World| !world.wrongs.has(Wrong::Robbed)),
            Property::always(STUCK, |protocol: &Self, world: &World| {
                settle::settles(world, &protocol.rules)
            }),
        ]
    }
}

fn shares_key(world: &World) -> bool {
    let active = |key| {
        let jobs = world.jobs.iter();
        jobs.filter(|job| job.key == key && job.state.is_active())
            .count()
    };
    let mut jobs = world.jobs.iter();
    jobs.any(|job| job.key.is_some() && active(job.key) > 1)
}

impl Protocol {
    /// Adds all that might happen, allowed or not.
    fn add_events(&self, world: &World, events: &mut Vec<Event>) {
        for p in 0..world.processes.len() {
            self.add_events_of_process(world, p, events);
        }
        events.extend(world.rows.iter().map(|row| Event::RunOut(row.id)));
        for (index, job) in world.jobs.iter().enumerate() {
            let is_wanted = job.state.is_active() && !job.is_cancel_requested;
            events.extend(is_wanted.then_some(Event::Cancel(index)));
            let may_requeue = world.may_requeue(job, &self.rules);
            events.extend(may_requeue.then_some(Event::Requeue(index)));
        }
    }

    /// Leaves out what [`World::allows`] would refuse at a glance: it is asked of the rest, for every world.
    fn add_events_of_process(&self, world: &World, p: usize, events: &mut Vec<Event>) {
        let process = &world.processes[p];
        self.add_claims(world, p, events);
        if process.mode == Mode::Down {
            return events.push(Event::Start(p));
        }
        for (r, run) in process.runs.iter().enumerate() {
            self.add_events_of_run(p, r, run.stage, events);
        }
        events.extend([
            Event::Answer(p),
            Event::LoseAnswer(p),
            Event::Beat(p),
            Event::Pause(p),
            Event::Resume(p),
            Event::Crash(p),
            Event::Stop(p),
            Event::Leave(p),
            Event::Expire(p),
            Event::Pin(p),
            Event::Rescue(p),
            Event::BeginReconcile(p),
            Event::EndReconcile(p),
            Event::Reconcile(p),
        ]);
    }

    fn add_claims(&self, world: &World, p: usize, events: &mut Vec<Event>) {
        let process = &world.processes[p];
        let jobs = position(world.jobs.len());
        let picks = || {
            (0..1 << jobs)
                .map(Pick::Only)
                .chain((0..jobs).map(Pick::Suspect))
        };
        if process
            .claim
            .as_ref()
            .is_some_and(|claim| claim.taken.is_none())
        {
            events.extend(picks().map(|pick| Event::Take(p, pick)));
        }
        if process.is_up() && world.jobs.iter().any(Job::is_claimable) {
            events.push(Event::BeginClaim(p));
            events.extend(picks().map(|pick| Event::Claim(p, pick)));
        }
    }

    fn add_events_of_run(&self, p: usize, r: usize, stage: Stage, events: &mut Vec<Event>) {
        match stage {
            Stage::Runs => {
                let told = [Ending::Cancelled, Ending::Released];
                let endings = self.endings.iter().chain(&told);
                events.extend(endings.map(|ending| Event::End(p, r, *ending)));
                events.push(Event::OpenEffect(p, r));
            }
            Stage::Effect => events.extend([
                Event::CommitEffect(p, r),
                Event::CommitUnanswered(p, r),
                Event::RollBack(p, r),
            ]),
            Stage::Ended(_) => events.extend([
                Event::Ack(p, r),
                Event::SendAck(p, r),
                Event::AckUnanswered(p, r),
            ]),
            Stage::Missed(_) => events.push(Event::ReadBack(p, r)),
        }
    }
}
