//! The served queues as the fetch loop sees them: how far each has been visited, whether its inserts should notify, and
//! whether there is a reason to look at it. Policy only: no database.

use std::cmp::Reverse;
use std::time::Instant;

use super::cursor::{Cursor, Place};
use super::engine::Heard;
use super::wake_mark::{MarkChange, WakeMark};

/// All lanes of a worker, in the order of its slots.
#[derive(Debug)]
pub(super) struct Lanes {
    lanes: Vec<Lane>,
    /// Which lane comes first in the next claim, so that a busy queue does not starve the others.
    turn: usize,
}

#[derive(Debug)]
struct Lane {
    queue: String,
    cursor: Cursor,
    mark: WakeMark,
    /// The last claim found no more; wait for a reason to look again.
    dry: bool,
    /// That claim was a sweep: there is nothing, not just nothing new.
    swept_dry: bool,
    /// And none of our runs, which may enqueue more, was on its way: there will be nothing.
    empty: bool,
}

/// What one claim asks for: of each open lane, at most so many jobs.
#[derive(Debug)]
pub(super) struct Ask {
    pub(super) open: Vec<usize>,
    pub(super) slots: Vec<usize>,
    pub(super) sweeps: Vec<bool>,
    /// Most jobs of all lanes together.
    pub(super) total: usize,
    started: Instant,
}

impl Lanes {
    pub(super) fn new(queues: Vec<String>) -> Self {
        let now = Instant::now();
        let lane = |queue| Lane {
            queue,
            cursor: Cursor::new(),
            mark: WakeMark::new(now),
            dry: false,
            swept_dry: false,
            empty: false,
        };
        Self {
            lanes: queues.into_iter().map(lane).collect(),
            turn: 0,
        }
    }

    /// Gives the lane of a queue.
    pub(super) fn position(&self, queue: &str) -> usize {
        let found = self.lanes.iter().position(|lane| lane.queue == queue);
        found.unwrap_or(0) // a claim names the queues: it answers no other
    }

    /// Gives the queues of some lanes.
    pub(super) fn queues(&self, lanes: &[usize]) -> Vec<String> {
        lanes
            .iter()
            .map(|&lane| self.lanes[lane].queue.clone())
            .collect()
    }

    /// Gives the lanes that have a free slot, in their turn.
    pub(super) fn free(&self, free: &[usize]) -> Vec<usize> {
        let count = self.lanes.len();
        let mut order: Vec<usize> = (0..count).filter(|&lane| free[lane] > 0).collect();
        order.sort_by_key(|&lane| Reverse(lane.wrapping_add(self.turn) % count));
        order
    }

    /// Puts a claim together: lanes with a free slot and a reason to look; `None`: there is none.
    pub(super) fn ask(&self, free: &[usize], total: usize, batch: usize) -> Option<Ask> {
        let started = Instant::now();
        let mut open = self.free(free);
        open.retain(|&lane| !self.lanes[lane].dry);
        let of_each = |give: fn(&Lane, Instant) -> bool| {
            open.iter()
                .map(|&lane| give(&self.lanes[lane], started))
                .collect()
        };
        let ask = Ask {
            slots: open.iter().map(|&lane| free[lane].min(batch)).collect(),
            sweeps: of_each(|lane, now| lane.cursor.sweep_is_due(now)),
            total: total.min(batch),
            started,
            open,
        };
        (!ask.open.is_empty()).then_some(ask)
    }

    /// Is true when there is a reason to look at a lane that has a free slot.
    pub(super) fn is_open(&self, free: &[usize]) -> bool {
        let mut lanes = self.lanes.iter().zip(free);
        lanes.any(|(lane, &free)| free > 0 && !lane.dry)
    }

    /// Gives the cursor of a lane.
    pub(super) fn cursor(&self, lane: usize) -> &Cursor {
        &self.lanes[lane].cursor
    }

    /// Moves cursors and marks by what a claim found. `alone`: no run of ours was on its way when it was asked.
    pub(super) fn note_claim(&mut self, ask: &Ask, claimed: &[(usize, Place)], alone: bool) {
        let now = Instant::now();
        let stopped_early = claimed.len() >= ask.total;
        // A claim that stopped early has not visited the lanes behind the last one that gave something.
        let gave = |lane: &usize| claimed.iter().any(|(of, _)| of == lane);
        let visited = if stopped_early {
            ask.open.iter().rposition(gave).map_or(0, |last| last + 1)
        } else {
            ask.open.len()
        };
        for (position, &lane) in ask.open.iter().enumerate() {
            let places = || claimed.iter().filter(move |(of, _)| *of == lane);
            let found = places().count();
            let full = found >= ask.slots[position] || stopped_early;
            let last = places().map(|(_, place)| *place).max();
            let lane = &mut self.lanes[lane];
            if ask.sweeps[position] && position < visited {
                lane.cursor.swept(now, now.duration_since(ask.started));
            }
            match last {
                _ if !full => lane.cursor.exhausted(),
                Some(last) => lane.cursor.stopped_at(last),
                None => {}
            }
            lane.dry = !full;
            lane.swept_dry = !full && ask.sweeps[position];
            lane.empty = alone && claimed.is_empty() && lane.swept_dry;
            lane.mark.claimed(now, found, full);
        }
        self.turn = self.turn.wrapping_add(1);
    }

    /// Notes which queues were heard of.
    pub(super) fn note_heard(&mut self, heard: &Heard) {
        let now = Instant::now();
        for lane in &mut self.lanes {
            if heard.all || heard.queues.contains(&lane.queue) {
                lane.mark.woken(now);
                lane.dry = false;
            }
        }
    }

    pub(super) fn look_at_all(&mut self) {
        for lane in &mut self.lanes {
            lane.dry = false;
        }
    }

    /// Gives the queues whose marks are to be set, and those whose marks are to be cleared, and takes it as done. After a
    /// mark is set, the next claim must look at the queue.
    pub(super) fn mark_changes(&mut self, now: Instant) -> (Vec<String>, Vec<String>) {
        let (mut set, mut clear) = (Vec::new(), Vec::new());
        for lane in &mut self.lanes {
            match lane.mark.change(now) {
                Some(MarkChange::Set) => {
                    lane.dry = false;
                    set.push(lane.queue.clone());
                }
                Some(MarkChange::Clear) => clear.push(lane.queue.clone()),
                None => {}
            }
        }
        (set, clear)
    }

    /// Sets marks again that are believed to be set: another worker may have cleared them and died.
    pub(super) fn renew_marks(&mut self) {
        for lane in &mut self.lanes {
            if !lane.mark.is_busy() {
                lane.mark.forget();
            }
        }
    }

    /// After a failure everything may have changed: marks and cursors start anew.
    pub(super) fn start_anew(&mut self) {
        for lane in &mut self.lanes {
            lane.mark.forget();
            lane.cursor = Cursor::new();
            lane.dry = false;
        }
    }

    /// Is true when some queue is polled instead of announced.
    pub(super) fn is_busy(&self) -> bool {
        self.lanes.iter().any(|lane| lane.mark.is_busy())
    }

    /// Is true when nothing but time or a notification is a reason to look: what is open is dry, and all is announced.
    pub(super) fn is_quiet(&self, free: &[usize]) -> bool {
        let mut lanes = self.lanes.iter().zip(free);
        lanes.all(|(lane, &free)| (lane.dry || free == 0) && !lane.mark.is_busy())
    }

    /// Gives the instant of the first sweep that is owed to a lane that is dry only as far as its cursor looked.
    pub(super) fn sweep_at(&self) -> Option<Instant> {
        let unswept = self.lanes.iter().filter(|lane| lane.dry && !lane.swept_dry);
        unswept.filter_map(|lane| lane.cursor.sweep_at()).min()
    }

    /// Is true when no queue has, or will have, anything that is due.
    pub(super) fn are_empty(&self) -> bool {
        self.lanes.iter().all(|lane| lane.empty)
    }

    /// Is true when, besides, nobody has said otherwise since.
    pub(super) fn stay_empty(&self) -> bool {
        self.lanes.iter().all(|lane| lane.empty && lane.dry)
    }
}
