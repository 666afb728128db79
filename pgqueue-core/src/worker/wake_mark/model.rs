//! The wake protocol as a world of small steps: what producers, workers and the clock may do next.
//!
//! The ideal: a worker sleeps until it is told, and is told of every job. NOTIFY at every commit would do, and costs a lock.
//! So a worker says by a mark whether it wants to be told; a transaction looks at the mark when it inserts (the trigger
//! `pgqueue_wake_queue`) and notifies when it commits. A worker sets the mark, then claims, then sleeps. What was committed
//! before the claim is found by it, and who looks after the mark is set notifies. One transaction does neither: it looked
//! before the mark was set and commits after the claim: it straddles. Re-polls find its job.
//!
//! When a mark is wanted decides the real [`WakeMark`](super::WakeMark), and when to poll the real `Polls`. The rest copies
//! `Fetcher::round`, `wait` and `change_marks` of `fetch.rs` for one queue, and `set_marks.sql`, as long as no statement
//! fails, no job ends and no worker stops in order. A claim is complete here: what the cursor leaves out is swept for elsewhere.

use std::time::{Duration, Instant};

use super::worker::{Step, Worker};

/// The policy's waits, in milliseconds as all times here.
pub(super) const BUSY_POLL: u64 = super::BUSY_POLL.subsec_millis() as u64;
pub(super) const FIRST_REPOLL: u64 = super::super::polls::FIRST_REPOLL.subsec_millis() as u64;
pub(super) const STALLED: u64 = super::STALLED.subsec_millis() as u64;
/// The poll interval. Short, so that all that comes of it is explored.
pub(super) const POLL: u64 = 1000;
/// After this nobody enqueues any more, and transactions have ended: all the rest is waiting.
const LAST_LOOK: u64 = 305;
const LAST_COMMIT: u64 = 380;
/// How long a statement takes that is slow: longer than the policy's moment of quiet.
pub(super) const SLOW: u64 = 60;

/// The rules that make the protocol right. A test breaks each in turn.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rules {
    /// The mark is set, then the queue is looked at.
    pub(super) mark_before_claim: bool,
    /// After a mark was set the queue is looked at again, at growing intervals.
    pub(super) repolls: bool,
    /// Who cannot do so for lack of a free slot asks the others to.
    pub(super) asks_others: bool,
    /// Who has cleared the mark polls.
    pub(super) busy_poll: bool,
    /// Who has cleared the mark and has no free slot sets it again.
    pub(super) stalled_sets: bool,
    /// Setting a mark wakes the workers.
    pub(super) set_wakes: bool,
    /// A poll sets the mark again that somebody may have cleared.
    pub(super) renews: bool,
    /// A worker that begins to listen looks at everything.
    pub(super) listen_wakes: bool,
}

/// The rules as they are.
pub(super) const RULES: Rules = Rules {
    mark_before_claim: true,
    repolls: true,
    asks_others: true,
    busy_poll: true,
    stalled_sets: true,
    set_wakes: true,
    renews: true,
    listen_wakes: true,
};

/// A transaction that enqueues one job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Producer {
    Ready,
    /// It has inserted, and looked at the mark.
    Looked {
        at: u64,
        notifies: bool,
        straddles: bool,
    },
    Committed {
        looked_at: u64,
        at: u64,
        straddles: bool,
    },
    /// A worker has the job.
    Claimed,
}

/// Everything that matters of a moment.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct World {
    pub(super) epoch: Instant,
    pub(super) now: u64,
    /// `pgqueue_wake.wanted`.
    pub(super) wanted: bool,
    pub(super) producers: Vec<Producer>,
    pub(super) workers: Vec<Worker>,
    /// How many statements may still be slow, and how many workers may still die.
    pub(super) slow: usize,
    pub(super) mortal: usize,
}

/// Something that can happen next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Event {
    /// A producer inserts its job.
    Look(usize),
    /// A producer commits.
    Commit(usize),
    /// A worker begins to listen.
    Listen(usize),
    /// A worker does its next step.
    Step(usize),
    /// A worker that sleeps takes its wake-up.
    Hear(usize),
    /// A worker's statement takes long.
    Slow(usize),
    /// A worker's process dies.
    Die(usize),
    /// Nobody has anything to do but wait: the clock goes on to the first who wakes by time.
    Tick,
}

impl World {
    /// Makes a world at a millisecond, with producers that have not begun.
    pub(super) fn new(now: u64, producers: usize) -> Self {
        Self {
            epoch: Instant::now(),
            now,
            wanted: false,
            producers: vec![Producer::Ready; producers],
            workers: Vec::new(),
            slow: 0,
            mortal: 0,
        }
    }

    pub(super) fn instant(&self, at: u64) -> Instant {
        self.epoch + Duration::from_millis(at)
    }

    pub(super) fn milliseconds(&self, at: Instant) -> u64 {
        let since = at.saturating_duration_since(self.epoch);
        since.as_secs() * 1000 + u64::from(since.subsec_millis())
    }

    /// Gives all that can happen next.
    pub(super) fn events(&self) -> Vec<Event> {
        let mut events = Vec::new();
        for (index, producer) in self.producers.iter().enumerate() {
            match producer {
                Producer::Ready if self.now <= LAST_LOOK => events.push(Event::Look(index)),
                Producer::Looked { .. } if self.now <= LAST_COMMIT => {
                    events.push(Event::Commit(index));
                }
                _ => {}
            }
        }
        let producers = events.len();
        for index in 0..self.workers.len() {
            self.add_events_of_worker(index, &mut events);
        }
        if events.len() == producers {
            events.push(Event::Tick);
        }
        if self.mortal > 0 && self.workers.len() > 1 {
            events.push(Event::Die(self.workers.len() - 1));
        }
        events
    }

    fn add_events_of_worker(&self, index: usize, events: &mut Vec<Event>) {
        let worker = &self.workers[index];
        if !worker.listens {
            events.push(Event::Listen(index));
        }
        match worker.step {
            Step::Asleep { until } => {
                events.extend(worker.heard.then_some(Event::Hear(index)));
                events.extend((until <= self.now).then_some(Event::Step(index)));
            }
            Step::Decide | Step::Note { .. } => events.push(Event::Step(index)),
            Step::Write { .. } | Step::Claim { .. } | Step::AskOthers | Step::LookAtMark => {
                events.push(Event::Step(index));
                events.extend((self.slow > 0).then_some(Event::Slow(index)));
            }
        }
    }

    /// Lets it happen.
    pub(super) fn after(&self, event: Event, rules: Rules) -> Self {
        let mut next = self.clone();
        match event {
            Event::Look(index) => {
                next.producers[index] = Producer::Looked {
                    at: self.now,
                    notifies: self.wanted,
                    straddles: false,
                }
            }
            Event::Commit(index) => next.commit(index),
            Event::Listen(index) => {
                next.workers[index].listens = true;
                next.workers[index].heard = rules.listen_wakes;
            }
            Event::Step(index) => next.step(index, rules),
            Event::Hear(index) => next.hear(index),
            Event::Slow(index) => {
                next.slow -= 1;
                next.now += SLOW;
                next.step(index, rules);
            }
            Event::Die(index) => {
                next.mortal -= 1;
                next.workers.remove(index);
            }
            Event::Tick => next.now = self.wakes_at(),
        }
        next.producers.sort_unstable(); // which is which makes no difference
        next
    }

    /// Gives when the first worker wakes by time.
    pub(super) fn wakes_at(&self) -> u64 {
        let asleep = self.workers.iter().filter_map(|worker| match worker.step {
            Step::Asleep { until } => Some(until),
            _ => None,
        });
        asleep.min().unwrap_or(u64::MAX)
    }

    fn commit(&mut self, index: usize) {
        let Producer::Looked {
            at: looked_at,
            notifies,
            straddles,
        } = self.producers[index]
        else {
            return;
        };
        self.producers[index] = Producer::Committed {
            looked_at,
            at: self.now,
            straddles,
        };
        if notifies {
            self.notify();
        }
    }

    pub(super) fn notify(&mut self) {
        for worker in self.workers.iter_mut().filter(|worker| worker.listens) {
            worker.heard = true;
        }
    }

    pub(super) fn ask_to_repoll(&mut self) {
        for worker in self.workers.iter_mut().filter(|worker| worker.listens) {
            (worker.heard, worker.asked_to_repoll) = (true, true);
        }
    }
}
