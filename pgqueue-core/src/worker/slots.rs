//! How many jobs may run, in all and of each queue, and which wait for their turn. A slot is held until the handler is
//! through, or the thread of a handler that does not stop; the end of the run is counted until it is stored. So a worker
//! goes on while ends are stored, but not far: what it claims is bounded by both, and an outage slows claims down.
//!
//! A slot that becomes free goes to the next job that waits, at once and without the fetch loop. Jobs that have lost a
//! process do not wait with the others: a look for them is *owed* a slot of each lane, which is then left to the fetch
//! loop, or a backlog would keep every slot from them.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use super::waiting::{Line, Waiting};

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
    /// A job that has lost a process has a slot, or a look for one has: no other may.
    suspect: bool,
    /// Which lane comes first of those whose jobs have waited for as long.
    turn: usize,
    /// The next slot is left to a claim of this lane: the others' jobs that wait would take every one.
    kept_for: Option<usize>,
}

#[derive(Debug, Default)]
struct Lane {
    free: usize,
    /// Claimed, not started.
    line: Line,
    /// Ended, not stored.
    unstored: usize,
    done: Done,
    /// A slot is left for a look for jobs that have lost a process.
    owed: bool,
}

/// The runs of a lane that have ended so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Done {
    pub(super) runs: u32,
    /// How long they took together.
    pub(super) time: Duration,
}

/// How many jobs may be claimed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Room {
    /// Most in all.
    pub(super) total: usize,
    /// Of these, so many can start at once.
    pub(super) free: usize,
    pub(super) lanes: Vec<LaneRoom>,
    /// A slot is kept for a claim of this lane.
    pub(super) kept_for: Option<usize>,
}

/// How many jobs of one lane may be claimed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct LaneRoom {
    /// Most; more than there are free slots, if some are claimed ahead.
    pub(super) most: usize,
    /// Of these, so many can start at once.
    pub(super) free: usize,
}

/// A taken slot; dropping it gives it back.
#[derive(Debug)]
pub(super) struct Slot {
    slots: Arc<Slots>,
    lane: usize,
    suspect: bool,
}

/// A slot of each of some lanes, for one job that has lost a process; dropping it gives them back. That is no reason to
/// look for jobs, so nobody is told: whoever reserved starts what waits.
#[derive(Debug)]
pub(super) struct Reserved {
    slots: Arc<Slots>,
    lanes: Vec<usize>,
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
            ..Lane::default()
        };
        Arc::new(Self {
            state: Mutex::new(State {
                free: total,
                lanes: lanes.into_iter().map(lane).collect(),
                suspect: false,
                turn: 0,
                kept_for: None,
            }),
            changed: Notify::new(),
        })
    }

    /// Gives how many jobs may be claimed if each lane may hold so many `ahead` of its free slots. What a lane holds, waiting
    /// or ended and not stored, is taken from its own part, never from that of another. None while more than half of what is
    /// ahead waits or less than a quarter is left: a claim of a few jobs costs as much as one of many.
    pub(super) fn room(&self, ahead: &[usize]) -> Room {
        let state = self.lock();
        let room = |(lane, &ahead): (&Lane, &usize)| {
            let (free, waiting) = (lane.free.min(state.free), lane.line.len());
            let most = (free + ahead).saturating_sub(waiting + lane.unstored);
            let worth_it = waiting <= ahead / 2 && most >= (ahead / 4).max(1);
            let most = if worth_it { most } else { 0 };
            LaneRoom {
                most,
                free: free.saturating_sub(waiting).min(most),
            }
        };
        let lanes: Vec<LaneRoom> = state.lanes.iter().zip(ahead).map(room).collect();
        let all_ahead: usize = lanes.iter().map(|lane| lane.most - lane.free).sum();
        let kept = state.kept();
        let free = state.free.saturating_sub(state.about_to_start()).max(kept);
        Room {
            total: free + all_ahead,
            free,
            lanes,
            kept_for: state.kept_for.filter(|_| kept > 0),
        }
    }

    /// Leaves the next free slot to a claim of the first of these lanes that has none because jobs of others wait for each;
    /// to no claim, if there is no such lane. True: a slot was left to one, and is not any more.
    pub(super) fn keep_for(&self, undecided: &[usize]) -> bool {
        let mut state = self.lock();
        let was_kept = state.kept() > 0;
        let is_kept_out = |&&lane: &&usize| {
            let lane = &state.lanes[lane];
            lane.line.is_empty() && lane.free > 0
        };
        let is_full = state.free <= state.about_to_start();
        let lane = undecided.iter().find(is_kept_out).copied();
        state.kept_for = lane.filter(|_| is_full);
        was_kept && state.kept() == 0
    }

    /// Gives how many slots are free.
    pub(super) fn free(&self) -> usize {
        self.lock().free
    }

    /// Gives what has been done so far, of each lane.
    pub(super) fn done(&self) -> Vec<Done> {
        self.lock().lanes.iter().map(|lane| lane.done).collect()
    }

    /// Has claimed jobs, each with its lane, wait for their turn.
    pub(super) fn wait(&self, jobs: Vec<(usize, Waiting)>) {
        let mut state = self.lock();
        for (lane, job) in jobs {
            state.lanes[lane].line.push(job);
        }
    }

    /// Takes the job that has waited for the longest where there is a free slot, with that slot.
    pub(super) fn next(self: &Arc<Self>) -> Option<(Waiting, Slot)> {
        let mut state = self.lock();
        if state.to_hand_over() == 0 {
            return None;
        }
        let count = state.lanes.len();
        let in_turn = (0..count).map(|step| (state.turn + step) % count);
        let fronts = in_turn.filter_map(|number| {
            let lane = &state.lanes[number];
            let since = lane.line.first_since()?;
            (lane.free > usize::from(lane.owed)).then_some((since, number))
        });
        // What was claimed into the slot that was kept for it goes first: it may be on its last attempt, and must not wait.
        let (_, lane) =
            fronts.min_by_key(|&(since, number)| (state.kept_for != Some(number), since))?;
        state.kept_for = state.kept_for.filter(|kept| *kept != lane);
        state.turn = lane + 1;
        let job = state.lanes[lane].line.pop()?;
        state.free -= 1;
        state.lanes[lane].free -= 1;
        let slot = Slot {
            slots: Arc::clone(self),
            lane,
            suspect: false,
        };
        Some((job, slot))
    }

    /// Takes out the jobs that have waited since before this time, each with its count as not stored.
    pub(super) fn waiting_since(self: &Arc<Self>, before: Instant) -> Vec<(Waiting, Unstored)> {
        let mut taken = Vec::new();
        for (number, lane) in self.lock().lanes.iter_mut().enumerate() {
            let late = lane.line.take_since(before);
            lane.unstored += late.len();
            let unstored = || Unstored {
                slots: Arc::clone(self),
                lane: number,
                _suspect: None,
            };
            taken.extend(late.into_iter().map(|job| (job, unstored())));
        }
        taken
    }

    /// Gives since when the job waits that has waited for the longest.
    pub(super) fn oldest(&self) -> Option<Instant> {
        let state = self.lock();
        state
            .lanes
            .iter()
            .filter_map(|lane| lane.line.oldest())
            .min()
    }

    /// Leaves a slot of each lane to a look for jobs that have lost a process, the next one that becomes free if none is.
    pub(super) fn owe_to_suspects(&self) {
        for lane in &mut self.lock().lanes {
            lane.owed = true;
        }
    }

    /// Is true while some lane has not had the look that it is owed.
    pub(super) fn owes_to_suspects(&self) -> bool {
        self.lock().lanes.iter().any(|lane| lane.owed)
    }

    /// Is true when [`Slots::reserve`] would give slots.
    pub(super) fn can_reserve(&self) -> bool {
        self.lock().can_reserve()
    }

    /// Takes a slot of each lane that is owed one and has one free.
    pub(super) fn reserve(self: &Arc<Self>) -> Option<Reserved> {
        let mut state = self.lock();
        if !state.can_reserve() {
            return None;
        }
        let mut lanes = Vec::new();
        for (number, lane) in state.lanes.iter_mut().enumerate() {
            if lane.is_left_free() {
                (lane.free, lane.owed) = (lane.free - 1, false);
                lanes.push(number);
            }
        }
        state.free -= 1;
        state.suspect = true;
        Some(Reserved {
            slots: Arc::clone(self),
            lanes,
        })
    }

    /// Is true while a job that has lost a process has a slot: then no other such job may start.
    pub(super) fn has_suspect(&self) -> bool {
        self.lock().suspect
    }

    /// Resolves when there may be more room since the last call resolved.
    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Is true while a slot is left to a look for jobs that have lost a process.
    fn leaves_one_free(&self) -> bool {
        self.lanes.iter().any(Lane::is_left_free)
    }

    /// Free slots that are left neither to such a look nor to a claim.
    fn to_hand_over(&self) -> usize {
        self.free
            .saturating_sub(usize::from(self.leaves_one_free()))
            .saturating_sub(self.kept())
    }

    /// One, if a free slot is left to the claim of a lane.
    fn kept(&self) -> usize {
        let lane = self.kept_for.map(|lane| &self.lanes[lane]);
        let is_kept = lane.is_some_and(|lane| lane.line.is_empty() && lane.free > 0);
        usize::from(is_kept).min(self.free)
    }

    /// Jobs that wait for a slot that their own lane has.
    fn about_to_start(&self) -> usize {
        let of_lane = |lane: &Lane| lane.line.len().min(lane.free);
        self.lanes.iter().map(of_lane).sum()
    }

    fn can_reserve(&self) -> bool {
        self.free > 0 && !self.suspect && self.leaves_one_free()
    }
}

impl Lane {
    fn is_left_free(&self) -> bool {
        self.owed && self.free > 0
    }
}

impl Reserved {
    pub(super) fn lanes(&self) -> &[usize] {
        &self.lanes
    }

    /// Keeps the slot of one of the lanes, for the job that was found there. Nobody is owed any more: it runs alone.
    pub(super) fn keep(mut self, lane: usize) -> Slot {
        let slots = Arc::clone(&self.slots);
        let mut state = slots.lock();
        for other in std::mem::take(&mut self.lanes) {
            state.lanes[other].free += usize::from(other != lane);
        }
        for lane in &mut state.lanes {
            lane.owed = false;
        }
        drop(state);
        Slot {
            slots,
            lane,
            suspect: true,
        }
    }
}

impl Unstored {
    pub(super) fn lane(&self) -> usize {
        self.lane
    }
}

impl Slot {
    /// Gives the slot back at the end of a run that took so long, and counts the end as not stored.
    pub(super) fn end(self, run_time: Duration) -> Unstored {
        let (slots, lane, is_suspect) = (Arc::clone(&self.slots), self.lane, self.suspect);
        let mut state = slots.lock();
        let ended = &mut state.lanes[lane];
        ended.unstored += 1;
        ended.done.runs = ended.done.runs.wrapping_add(1);
        ended.done.time += run_time;
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
        state.suspect &= !self.suspect;
        drop(state);
        self.slots.changed.notify_one();
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        if self.lanes.is_empty() {
            return; // one was kept
        }
        let mut state = self.slots.lock();
        state.free += 1;
        for &lane in &self.lanes {
            state.lanes[lane].free += 1;
        }
        state.suspect = false;
    }
}

impl Drop for Unstored {
    fn drop(&mut self) {
        self.slots.lock().lanes[self.lane].unstored -= 1;
        self.slots.changed.notify_one();
    }
}

#[cfg(test)]
mod tests;
