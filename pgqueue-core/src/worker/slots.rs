//! How many jobs may run, in all and of each queue, and which wait for their turn. A slot is held until the handler is
//! through, or the thread of a handler that does not stop; the end of the run is counted until it is stored. So a worker
//! goes on while ends are stored, but not far: what it claims is bounded by both, and an outage slows claims down.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::Notify;

use super::execute::Waiting;

/// Slots of the worker and of each of its queues, and the jobs that wait for one.
#[derive(Debug)]
pub(super) struct Slots {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug)]
struct State {
    /// Free in all.
    free: usize,
    lanes: Vec<Lane>,
    /// Taken by jobs that have lost a process.
    suspects: usize,
    /// Which lane comes first of those whose jobs have waited for as long.
    turn: usize,
}

#[derive(Debug)]
struct Lane {
    free: usize,
    /// Claimed, not started; in the order of claims.
    waiting: VecDeque<Waiting>,
    /// Ended, not stored.
    unstored: usize,
    /// Runs that have ended so far.
    ended: u64,
}

/// How many jobs may be claimed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Room {
    pub(super) total: usize,
    pub(super) lanes: Vec<usize>,
}

/// A taken slot; dropping it gives it back.
#[derive(Debug)]
pub(super) struct Slot {
    slots: Arc<Slots>,
    lane: usize,
    suspect: bool,
}

/// An ended run that is not stored yet; dropping it says that it is.
#[derive(Debug)]
pub(super) struct Unstored {
    slots: Arc<Slots>,
    lane: usize,
    /// The slot of a job that has lost a process: until its end is stored it may still take the blame for the next loss.
    _suspect: Option<Slot>,
}

impl Slots {
    pub(super) fn new(total: usize, lanes: Vec<usize>) -> Arc<Self> {
        let lane = |free| Lane {
            free,
            waiting: VecDeque::new(),
            unstored: 0,
            ended: 0,
        };
        Arc::new(Self {
            state: Mutex::new(State {
                free: total,
                lanes: lanes.into_iter().map(lane).collect(),
                suspects: 0,
                turn: 0,
            }),
            changed: Notify::new(),
        })
    }

    /// Gives the free slots in all and of each queue, which is never more than in all.
    pub(super) fn free(&self) -> Room {
        let state = self.lock();
        Room {
            total: state.free,
            lanes: state
                .lanes
                .iter()
                .map(|lane| lane.free.min(state.free))
                .collect(),
        }
    }

    /// Gives how many jobs may be claimed if each lane may hold so many `ahead` of its free slots. None while more than half
    /// of them wait or too little room is left: a claim of a few jobs costs as much as one of many.
    pub(super) fn room(&self, ahead: &[usize]) -> Room {
        let state = self.lock();
        let held: usize = state.lanes.iter().map(Lane::held).sum();
        let all_ahead: usize = ahead.iter().copied().max().unwrap_or(0);
        let room = |(lane, &ahead): (&Lane, &usize)| {
            let room = (lane.free.min(state.free) + ahead).saturating_sub(lane.held());
            let worth_it = lane.waiting.len() <= ahead / 2 && room >= (ahead / 2).max(1);
            if worth_it { room } else { 0 }
        };
        Room {
            total: (state.free + all_ahead).saturating_sub(held),
            lanes: state.lanes.iter().zip(ahead).map(room).collect(),
        }
    }

    /// Gives how many runs of each lane have ended so far.
    pub(super) fn ended(&self) -> Vec<u64> {
        self.lock().lanes.iter().map(|lane| lane.ended).collect()
    }

    /// Has a claimed job wait for its turn: by priority first, then in the order of claims.
    pub(super) fn wait(&self, lane: usize, job: Waiting) {
        let waiting = &mut self.lock().lanes[lane].waiting;
        let before = |other: &Waiting| other.claimed.priority <= job.claimed.priority;
        let position = if waiting.back().is_none_or(before) {
            waiting.len()
        } else {
            waiting.partition_point(before)
        };
        waiting.insert(position, job);
    }

    /// Takes the job that has waited for the longest where there is a free slot, with that slot.
    pub(super) fn next(self: &Arc<Self>) -> Option<(Waiting, Slot)> {
        let mut state = self.lock();
        if state.free == 0 {
            return None;
        }
        let count = state.lanes.len();
        let in_turn = (0..count).map(|step| (state.turn + step) % count);
        let fronts = in_turn.filter_map(|number| {
            let lane = &state.lanes[number];
            let front = lane.waiting.front().filter(|_| lane.free > 0)?;
            Some((front.since, number))
        });
        let (_, lane) = fronts.min_by_key(|(since, _)| *since)?;
        state.turn = lane + 1;
        let job = state.lanes[lane].waiting.pop_front()?;
        Some((job, self.take(&mut state, lane)))
    }

    /// Takes a slot of a lane for a job that has lost a process. Only the fetch loop calls it, after it looked.
    pub(super) fn take_for_suspect(self: &Arc<Self>, lane: usize) -> Slot {
        let mut state = self.lock();
        state.suspects += 1;
        let mut slot = self.take(&mut state, lane);
        slot.suspect = true;
        slot
    }

    fn take(self: &Arc<Self>, state: &mut State, lane: usize) -> Slot {
        state.free = state.free.saturating_sub(1);
        state.lanes[lane].free = state.lanes[lane].free.saturating_sub(1);
        Slot {
            slots: Arc::clone(self),
            lane,
            suspect: false,
        }
    }

    /// Takes out the jobs that have waited since before this time, with their lanes.
    pub(super) fn waiting_since(self: &Arc<Self>, before: Instant) -> Vec<(Waiting, usize)> {
        let mut taken = Vec::new();
        for (number, lane) in self.lock().lanes.iter_mut().enumerate() {
            let (late, rest): (VecDeque<_>, VecDeque<_>) = std::mem::take(&mut lane.waiting)
                .into_iter()
                .partition(|job| job.since <= before);
            lane.waiting = rest;
            taken.extend(late.into_iter().map(|job| (job, number)));
        }
        taken
    }

    /// Gives since when the job waits that has waited for the longest.
    pub(super) fn oldest(&self) -> Option<Instant> {
        let state = self.lock();
        let waiting = state.lanes.iter().flat_map(|lane| &lane.waiting);
        waiting.map(|job| job.since).min()
    }

    /// Counts the end of a run that is not stored yet.
    pub(super) fn unstored(self: &Arc<Self>, lane: usize) -> Unstored {
        self.lock().lanes[lane].unstored += 1;
        Unstored {
            slots: Arc::clone(self),
            lane,
            _suspect: None,
        }
    }

    /// Is true while a job that has lost a process has a slot: then no other such job may start.
    pub(super) fn has_suspect(&self) -> bool {
        self.lock().suspects > 0
    }

    /// Resolves when there may be more room since the last call resolved.
    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lane {
    /// Jobs that are claimed and have no slot.
    fn held(&self) -> usize {
        self.waiting.len() + self.unstored
    }
}

impl Slot {
    /// Gives the slot back at the end of a run, and counts the end as not stored.
    pub(super) fn end(self) -> Unstored {
        let (slots, lane, is_suspect) = (Arc::clone(&self.slots), self.lane, self.suspect);
        let mut state = slots.lock();
        state.lanes[lane].unstored += 1;
        state.lanes[lane].ended += 1;
        drop(state);
        Unstored {
            slots,
            lane,
            _suspect: is_suspect.then_some(self),
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut state = self.slots.lock();
        state.free += 1;
        state.lanes[self.lane].free += 1;
        state.suspects -= usize::from(self.suspect);
        drop(state);
        self.slots.changed.notify_one();
    }
}

impl Drop for Unstored {
    fn drop(&mut self) {
        self.slots.lock().lanes[self.lane].unstored -= 1;
        self.slots.changed.notify_one();
    }
}
