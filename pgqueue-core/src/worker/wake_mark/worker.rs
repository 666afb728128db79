//! A worker of the model, with the real policy inside, and its steps.
//!
//! They are those of `Fetcher` in `fetch.rs` and of `Lanes` in `lanes.rs` for one queue, each named at its step. A statement
//! is one step: PostgreSQL makes it so, by the row's lock and the commit. Between any two steps everybody else may act.

use super::model::{BUSY_POLL, FIRST_REPOLL, POLL, Producer, Rules, STALLED, World};
use super::{MarkChange, WakeMark};

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
    /// There is no reason to look at the queue.
    dry: bool,
    has_slots: bool,
    poll_at: u64,
    repoll: u64,
    repoll_at: u64,
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
        let poll_at = self.now + poll_in;
        let worker = Worker {
            listens: true,
            dry: true,
            poll_at,
            repoll: POLL,
            repoll_at: poll_at,
            ..self.worker(mark, Step::Asleep { until: poll_at })
        };
        self.workers.push(worker);
        self
    }

    /// Adds a worker in a backlog that has just ended: it is about to clear the mark. Its slots are free, or all taken for good.
    pub(super) fn with_flooded(mut self, has_slots: bool) -> Self {
        let mut mark = WakeMark::new(self.instant(0));
        mark.change(self.instant(0));
        self.wanted = true;
        for _ in 0..3 {
            mark.claimed(self.instant(self.now), 10, true);
        }
        let worker = Worker {
            listens: true,
            has_slots,
            poll_at: self.now + POLL,
            repoll: POLL,
            repoll_at: self.now + POLL,
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
            dry: false,
            has_slots: true,
            poll_at: self.now,
            repoll: FIRST_REPOLL,
            repoll_at: self.now,
        }
    }

    /// Does the next step.
    pub(super) fn step(&mut self, index: usize, rules: Rules) {
        match self.workers[index].step {
            Step::Decide => self.decide(index, rules),
            Step::Write { change, decided_at } => self.write(index, change, decided_at, rules),
            Step::Claim { owed } => self.claim(index, owed),
            Step::Note { found, owed } => self.note(index, found, owed, rules),
            Step::Asleep { .. } => self.wake_by_time(index, rules),
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
            let worker = &mut self.workers[index];
            worker.repoll = FIRST_REPOLL;
            worker.repoll_at = decided_at + FIRST_REPOLL;
        }
        self.wanted = set;
        if set && !rules.mark_before_claim {
            self.sleep(index, rules);
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
        let looks = worker.has_slots && !worker.dry;
        let mut found = 0;
        for producer in self.producers.iter_mut().filter(|_| looks) {
            if matches!(producer, Producer::Committed { .. }) {
                *producer = Producer::Claimed;
                found += 1;
            }
        }
        worker.step = Step::Note { found, owed };
    }

    /// `Lanes::note_claim`. Slots are plenty where there are any: what was found was all.
    fn note(&mut self, index: usize, found: usize, owed: Option<u64>, rules: Rules) {
        let now = self.instant(self.now);
        let worker = &mut self.workers[index];
        if worker.has_slots && !worker.dry {
            worker.mark.claimed(now, found, false);
            worker.dry = true;
        }
        match owed {
            Some(decided_at) => {
                worker.step = Step::Write {
                    change: MarkChange::Set,
                    decided_at,
                }
            }
            None => self.sleep(index, rules),
        }
    }

    /// `Fetcher::next_reason`.
    fn sleep(&mut self, index: usize, rules: Rules) {
        let now = self.now;
        let worker = &mut self.workers[index];
        let busy = match (worker.mark.is_busy(), worker.has_slots) {
            (true, true) => rules.busy_poll.then_some(now + BUSY_POLL),
            (true, false) => rules.stalled_sets.then_some(now + STALLED),
            (false, _) => None,
        };
        let repoll = rules.repolls.then_some(worker.repoll_at);
        let reasons = [Some(worker.poll_at), repoll, busy];
        let first = reasons.into_iter().flatten().min();
        let until = first.map_or(now + 1, |at| at.max(now + 1));
        worker.step = Step::Asleep { until };
    }

    /// `Lanes::note_heard`.
    pub(super) fn hear(&mut self, index: usize) {
        let now = self.instant(self.now);
        let worker = &mut self.workers[index];
        worker.heard = false;
        worker.mark.woken(now);
        worker.dry = false;
        worker.step = Step::Decide;
    }

    /// `Fetcher::note_time`.
    fn wake_by_time(&mut self, index: usize, rules: Rules) {
        let now = self.now;
        let worker = &mut self.workers[index];
        worker.dry = false;
        if worker.repoll_at <= now {
            worker.repoll = (worker.repoll * 2).min(POLL);
            worker.repoll_at = now + worker.repoll;
        }
        if worker.poll_at <= now {
            worker.poll_at = now + POLL;
            if rules.renews && !worker.mark.is_busy() {
                worker.mark.forget();
            }
        }
        if worker.repoll >= POLL {
            worker.repoll_at = worker.poll_at;
        }
        worker.step = Step::Decide;
    }
}
