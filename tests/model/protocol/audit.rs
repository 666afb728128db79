//! Watches each step from outside: what it did to the rows, against what truly happened.
//!
//! It does not ask the functions that made the step; it compares the rows before and after, and keeps each job's [`Past`].

use super::World;
use super::event::{Event, Pick};
use super::job::{Ending, Job, Past, State};
use super::process::Stage;
use super::rules::Rules;

/// Something that must never be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u16)]
pub(crate) enum Wrong {
    /// A run's end was accepted twice.
    EndedTwice = 1,
    /// An end was accepted from a run that is not the current one.
    StaleEnd = 2,
    /// A job went on after its effect was committed, or had two.
    EffectRepeated = 4,
    /// The token did not go up by one at a claim, or at something else.
    TokenJumped = 8,
    /// A job is dead with attempts and losses left.
    DiedEarly = 16,
    /// The attempt is not the number of claims less releases.
    Miscounted = 32,
    /// A claim took a job that another has.
    ClaimedTwice = 64,
    /// A job was taken from a worker that is registered, or from a run that its own process knows.
    Robbed = 128,
}

/// All that was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) struct Wrongs(u16);

impl Wrongs {
    pub(crate) fn has(self, wrong: Wrong) -> bool {
        self.0 & wrong as u16 != 0
    }

    fn add(&mut self, wrong: Wrong) {
        self.0 |= wrong as u16;
    }

    pub(crate) fn is_empty(self) -> bool {
        self.0 == 0
    }
}

impl World {
    /// Compares the rows with what they were before the event.
    pub(crate) fn audit(&mut self, before: &Self, event: Event, rules: &Rules) {
        let mut wrongs = self.wrongs;
        for (index, (was, job)) in before.jobs.iter().zip(&mut self.jobs).enumerate() {
            if was == job {
                continue;
            }
            let ended = ended(before, event, index);
            note(event, was, job, ended.map(|(_, ending)| ending));
            let found = [
                (is_ended_twice(job), Wrong::EndedTwice),
                (is_stale(was, ended), Wrong::StaleEnd),
                (is_effect_repeated(job), Wrong::EffectRepeated),
                (token_jumped(event, was, job), Wrong::TokenJumped),
                (died_early(event, was, job, ended, rules), Wrong::DiedEarly),
                (is_claimed_twice(event, was, job), Wrong::ClaimedTwice),
                (is_robbed(before, event, index, was, job), Wrong::Robbed),
                (
                    job.state != State::Gone && job.attempt != job.past.runs,
                    Wrong::Miscounted,
                ),
            ];
            for (_, wrong) in found.into_iter().filter(|(is_so, _)| *is_so) {
                wrongs.add(wrong);
            }
        }
        self.wrongs = wrongs;
    }
}

fn is_claim(event: Event, was: &Job, job: &Job) -> bool {
    matches!(event, Event::Take(..) | Event::Claim(..))
        && (was.claimed_by, was.token) != (job.claimed_by, job.token)
}

/// The token and ending of the run whose end this event has stored in this row, which has changed.
fn ended(before: &World, event: Event, index: usize) -> Option<(u8, Ending)> {
    let (p, r) = match event {
        Event::Ack(p, r)
        | Event::SendAck(p, r)
        | Event::AckUnanswered(p, r)
        | Event::CommitEffect(p, r)
        | Event::CommitUnanswered(p, r) => (p, r),
        _ => return None,
    };
    let run = before.processes[p].runs[r];
    let is_this = usize::from(run.job) == index;
    let ending = match run.stage {
        Stage::Ended(ending) => ending,
        _ => Ending::Completed,
    };
    is_this.then_some((run.token, ending))
}

/// Writes down what happened.
fn note(event: Event, was: &Job, job: &mut Job, ended: Option<Ending>) {
    let past = &mut job.past;
    match (event, ended) {
        (Event::Requeue(_), _) => *past = Past::default(),
        (_, Some(ending)) => {
            past.ends += 1;
            past.runs -= i8::from(ending.is_unburnt());
        }
        (Event::Reconcile(_) | Event::EndReconcile(_), _) => past.runs -= 1,
        _ => {}
    }
    if is_claim(event, was, job) {
        job.past.runs += 1;
        job.past.ends = 0;
    }
}

fn is_ended_twice(job: &Job) -> bool {
    job.past.ends > 1
}

fn is_stale(was: &Job, ended: Option<(u8, Ending)>) -> bool {
    ended.is_some_and(|(token, _)| token != was.token)
}

fn is_effect_repeated(job: &Job) -> bool {
    let is_kept = matches!(job.state, State::Completed | State::Gone);
    job.past.effects > 1 || job.past.effects == 1 && !is_kept
}

fn token_jumped(event: Event, was: &Job, job: &Job) -> bool {
    job.token != was.token + u8::from(is_claim(event, was, job))
}

fn died_early(
    event: Event,
    was: &Job,
    job: &Job,
    ended: Option<(u8, Ending)>,
    rules: &Rules,
) -> bool {
    let dies = job.state == State::Dead && was.state != State::Dead;
    let by_word = ended == Some((was.token, Ending::Dead));
    let by_losses = matches!(event, Event::Rescue(_)) && was.lost >= rules.max_lost;
    let by_runs = job.past.runs > job.max_retries;
    dies && !by_word && !by_losses && !by_runs
}

fn is_claimed_twice(event: Event, was: &Job, job: &Job) -> bool {
    let is_alone = match event {
        Event::Take(_, Pick::Suspect(_)) => was.lost > 0,
        _ => true,
    };
    is_claim(event, was, job) && !(was.state == State::Pending && is_alone)
}

fn is_robbed(before: &World, event: Event, index: usize, was: &Job, job: &Job) -> bool {
    let loses = was.state == State::Running && job.claimed_by != was.claimed_by;
    match event {
        Event::Rescue(_) => loses && was.claimed_by.is_some_and(|id| before.is_registered(id)),
        Event::Reconcile(p) | Event::EndReconcile(p) => {
            let process = &before.processes[p];
            let on_its_way = process
                .claim
                .iter()
                .filter_map(|claim| claim.taken.as_ref());
            let mut known = process.runs.iter().chain(on_its_way.flatten());
            loses && known.any(|run| usize::from(run.job) == index && run.token == was.token)
        }
        _ => false,
    }
}
