//! A worker of the model, with the real policy inside, and its steps.
//!
//! They are those of `Fetcher` in `fetch.rs` and of `Lanes` in `lanes.rs` for one queue, each named at its step. A statement
//! is one step: PostgreSQL makes it so, by the row's lock and the commit. Between any two steps everybody else may act.

use std::time::{Duration, Instant};

use super::super::polls::{Passed, Polls};
use super::model::{BUSY_POLL, POLL, Producer, Rules, STALLED, World};
use super::{MarkChange, WakeMark};

const INTERVAL: Duration = Duration::from_millis(POLL);
/// More slots than there are jobs.
pub(super) const PLENTY: usize = usize::MAX;

/// What a worker does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Step {
    Decide,
    Write {
        change: MarkChange,
        decided_at: u64,
    },
    /// `owed`: the mark is to be set afterwards, which is wrong.
    Claim {
        owed: Option<u64>,
    },
    /// The claim's answer has come.
    Note {
        found: usize,
        owed: Option<u64>,
    },
    /// A re-poll has come due that it has no slot for.
    AskOthers,
    /// It has polled: is the mark still set?
    LookAtMark,
    Asleep {
        until: u64,
    },
}

/// One worker of the queue.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Worker {
    mark: WakeMark,
    pub(super) step: Step,
    pub(super) listens: bool,
    /// A wake-up waits to be taken.
    pub(super) heard: bool,
    /// And with it that somebody else cannot re-poll.
    pub(super) asked_to_repoll: bool,
    /// There is no reason to look at the queue.
    dry: bool,
    /// Free slots. No job ends.
    slots: usize,
    polls: Polls,
    passed: Passed,
}

impl World {
    /// Adds a worker that has just started and does not listen yet.
    pub(super) fn with_new(mut self) -> Self {
        let mark = WakeMark::new(self.instant(self.now));
        self.workers.push(self.worker(mark, Step::Decide));
        self
    }

    /// Adds a worker that has slept for long, and will poll in a while.
    pub(super) fn with_idle(mut self, poll_in: u64) -> Self {
        let mut mark = WakeMark::new(self.instant(0));
        let first = mark.change(self.instant(0));
        assert_eq!(first, Some(MarkChange::Set));
        self.wanted = true;
        let until = self.now + poll_in;
        let worker = Worker {
            listens: true,
            dry: true,
            polls: calm(self.instant(until) - INTERVAL),
            ..self.worker(mark, Step::Asleep { until })
        };
        self.workers.push(worker);
        self
    }

    /// Adds a worker in a backlog that has just ended: it is about to clear the mark. It has so many free slots left.
    pub(super) fn with_flooded(mut self, slots: usize) -> Self {
        let mut mark = WakeMark::new(self.instant(0));
        mark.change(self.instant(0));
        self.wanted = true;
        for _ in 0..3 {
            mark.claimed(self.instant(self.now), 10, true);
        }
        let worker = Worker {
            listens: true,
            slots,
            polls: calm(self.instant(self.now)),
            ..self.worker(mark, Step::Decide)
        };
        self.workers.push(worker);
        self
    }

    fn worker(&self, mark: WakeMark, step: Step) -> Worker {
        Worker {
            mark,
            step,
            listens: false,
            heard: false,
            asked_to_repoll: false,
            dry: false,
            slots: PLENTY,
            polls: Polls::new(self.instant(self.now), INTERVAL),
            passed: Passed::default(),
        }
    }

    /// Does the next step.
    pub(super) fn step(&mut self, index: usize, rules: Rules) {
        match self.workers[index].step {
            Step::Decide => self.decide(index, rules),
            Step::Write { change, decided_at } => self.write(index, change, decided_at, rules),
            Step::Claim { owed } => self.claim(index, owed),
            Step::Note { found, owed } => self.note(index, found, owed, rules),
            Step::AskOthers => {
                self.ask_to_repoll();
                self.look_at_mark_or_sleep(index, rules);
            }
            Step::LookAtMark => self.look_at_mark(index, rules),
            Step::Asleep { .. } => self.wake_by_time(index),
        }
    }

    /// `Lanes::mark_changes`.
    fn decide(&mut self, index: usize, rules: Rules) {
        let (now, decided_at) = (self.instant(self.now), self.now);
        let worker = &mut self.workers[index];
        let change = worker.mark.change(now);
        worker.dry &= change != Some(MarkChange::Set);
        worker.step = match change {
            Some(MarkChange::Set) if !rules.mark_before_claim => Step::Claim {
                owed: Some(decided_at),
            },
            Some(change) => Step::Write { change, decided_at },
            None => Step::Claim { owed: None },
        };
    }

    /// `Fetcher::change_marks`, `set_marks.sql` and `clear_marks.sql`.
    fn write(&mut self, index: usize, change: MarkChange, decided_at: u64, rules: Rules) {
        let set = change == MarkChange::Set;
        if set && !self.wanted {
            self.straddle();
            if rules.set_wakes {
                self.notify();
            }
            let decided_at = self.instant(decided_at);
            self.workers[index].polls.mark_set(decided_at);
        }
        self.wanted = set;
        if set && !rules.mark_before_claim {
            self.go_on(index, rules);
        } else {
            self.workers[index].step = Step::Claim { owed: None };
        }
    }

    /// Who has looked in vain by now straddles, unless it commits before the claim that follows.
    fn straddle(&mut self) {
        for producer in &mut self.producers {
            if let Producer::Looked {
                notifies: false,
                straddles,
                ..
            } = producer
            {
                *straddles = true;
            }
        }
    }

    /// Takes what is committed, if there is a slot and a reason to look.
    fn claim(&mut self, index: usize, owed: Option<u64>) {
        let worker = &mut self.workers[index];
        let most = if worker.dry { 0 } else { worker.slots };
        let is_committed =
            |producer: &&mut Producer| matches!(producer, Producer::Committed { .. });
        let committed = self.producers.iter_mut().filter(is_committed);
        let taken = committed
            .take(most)
            .map(|producer| *producer = Producer::Claimed);
        let found = taken.count();
        worker.step = Step::Note { found, owed };
    }

    /// `Lanes::note_claim`.
    fn note(&mut self, index: usize, found: usize, owed: Option<u64>, rules: Rules) {
        let now = self.instant(self.now);
        let worker = &mut self.workers[index];
        if worker.slots > 0 && !worker.dry {
            let full = found >= worker.slots;
            worker.mark.claimed(now, found, full);
            worker.dry = !full;
            worker.slots -= found;
        }
        match owed {
            Some(decided_at) => {
                worker.step = Step::Write {
                    change: MarkChange::Set,
                    decided_at,
                }
            }
            None => self.go_on(index, rules),
        }
    }

    /// `Fetcher::round` after its claim.
    fn go_on(&mut self, index: usize, rules: Rules) {
        let worker = &mut self.workers[index];
        let cannot_repoll = worker.slots == 0 && !worker.mark.is_busy();
        let asks = rules.asks_others && worker.passed.repoll && cannot_repoll;
        if asks && worker.polls.ask_others() {
            worker.step = Step::AskOthers;
        } else {
            self.look_at_mark_or_sleep(index, rules);
        }
    }

    fn look_at_mark_or_sleep(&mut self, index: usize, rules: Rules) {
        let passed = std::mem::take(&mut self.workers[index].passed);
        if passed.poll && rules.renews {
            self.workers[index].step = Step::LookAtMark;
        } else {
            self.sleep(index, rules);
        }
    }

    /// `Fetcher::look_ahead` and `Lanes::renew_marks`.
    fn look_at_mark(&mut self, index: usize, rules: Rules) {
        let worker = &mut self.workers[index];
        if !self.wanted && !worker.mark.is_busy() {
            worker.mark.forget();
            worker.step = Step::Decide;
        } else {
            self.sleep(index, rules);
        }
    }

    /// `Fetcher::next_reason`.
    fn sleep(&mut self, index: usize, rules: Rules) {
        let now = self.now;
        let polls = self.workers[index].polls.clone();
        let polls = if rules.repolls {
            polls.next()
        } else {
            polls.poll_at()
        };
        let poll = self.milliseconds(polls);
        let worker = &mut self.workers[index];
        let busy = match (worker.mark.is_busy(), worker.slots > 0) {
            (true, true) => rules.busy_poll.then_some(now + BUSY_POLL),
            (true, false) => rules.stalled_sets.then_some(now + STALLED),
            (false, _) => None,
        };
        let until = busy.map_or(poll, |busy| busy.min(poll)).max(now + 1);
        worker.step = Step::Asleep { until };
    }

    /// `Fetcher::note_heard`.
    pub(super) fn hear(&mut self, index: usize) {
        let now = self.instant(self.now);
        let worker = &mut self.workers[index];
        worker.heard = false;
        if std::mem::take(&mut worker.asked_to_repoll) {
            worker.polls.asked_to(now);
        }
        worker.mark.woken(now);
        worker.dry = false;
        worker.step = Step::Decide;
    }

    /// `Fetcher::note_time`.
    fn wake_by_time(&mut self, index: usize) {
        let now = self.instant(self.now);
        let worker = &mut self.workers[index];
        worker.dry = false;
        worker.passed = worker.polls.pass(now);
        worker.step = Step::Decide;
    }
}

/// The polls of a worker that set its mark long ago, and last polled then.
fn calm(polled: Instant) -> Polls {
    let mut polls = Polls::new(polled - 2 * INTERVAL, INTERVAL);
    while polls.next() <= polled {
        polls.pass(polls.next());
    }
    assert_eq!(polls.next(), polled + INTERVAL);
    polls
}
