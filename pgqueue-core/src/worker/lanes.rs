//! The served queues as the fetch loop sees them: how far each has been visited, whether its inserts should notify, and
//! whether there is a reason to look at it. Policy only: no database.

use std::cmp::Reverse;
use std::time::{Duration, Instant};

use super::ahead::Ahead;
use super::config;
use super::cursor::{Cursor, Place};
use super::engine::Heard;
use super::slots::{Done, LaneRoom, Room};
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
    ahead: Ahead,
    done: Done,
    /// The last claim found no more; wait for a reason to look again.
    dry: bool,
    /// That claim was a sweep: there is nothing, not just nothing new.
    swept_dry: bool,
    /// And none of our runs, which may enqueue more, was on its way, nor has anything been heard since: there will be nothing.
    empty: bool,
}

/// What one claim asks for: of each open lane, at most so many jobs.
#[derive(Debug)]
pub(super) struct Ask {
    pub(super) open: Vec<usize>,
    pub(super) most: Vec<usize>,
    /// Of these, so many can start at once. No slot is counted for two lanes.
    pub(super) free: Vec<usize>,
    pub(super) sweeps: Vec<bool>,
    /// Most jobs of all lanes together.
    pub(super) total: usize,
    started: Instant,
}

/// What one claim found.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) jobs: Vec<FoundJob>,
    /// How many jobs it visited; more than it took, if it left some that have no retry left.
    pub(super) visited: usize,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct FoundJob {
    pub(super) lane: usize,
    pub(super) place: Place,
    /// Bytes of its payload.
    pub(super) bytes: usize,
    pub(super) is_last_chance: bool,
}

impl Lanes {
    pub(super) fn new(served: &[config::Lane], concurrency: usize) -> Self {
        let now = Instant::now();
        let lane = |lane: &config::Lane| Lane {
            queue: lane.queue.clone(),
            cursor: Cursor::new(),
            mark: WakeMark::new(now),
            ahead: Ahead::new(now, lane.concurrency.min(concurrency), served.len()),
            done: Done::default(),
            dry: false,
            swept_dry: false,
            empty: false,
        };
        Self {
            lanes: served.iter().map(lane).collect(),
            turn: 0,
        }
    }

    /// Gives the lane of a queue.
    pub(super) fn position(&self, queue: &str) -> usize {
        let found = self.lanes.iter().position(|lane| lane.queue == queue);
        found.unwrap_or(0) // a claim names the queues: it answers no other
    }

    /// Notes what each lane has done by now, in all.
    pub(super) fn note_done(&mut self, done: &[Done]) {
        let now = Instant::now();
        for (lane, &done) in self.lanes.iter_mut().zip(done) {
            if done.runs != lane.done.runs {
                lane.mark.ended(now);
            }
            lane.done = done;
        }
    }

    /// Gives how many jobs each lane may hold ahead of its free slots, `most` at most.
    pub(super) fn ahead(&mut self, prefetch: Duration, most: usize) -> Vec<usize> {
        let now = Instant::now();
        let limit = |lane: &mut Lane| {
            lane.ahead.measure(now, lane.done, prefetch);
            lane.ahead.limit(now, prefetch, most)
        };
        self.lanes.iter_mut().map(limit).collect()
    }

    /// Jobs of these lanes waited for too long and were given back: what the lanes had proven holds no more.
    pub(super) fn note_given_back(&mut self, lanes: &[usize]) {
        let now = Instant::now();
        for &lane in lanes {
            self.lanes[lane].ahead.hold_off(now);
        }
    }

    /// Gives the queues of some lanes.
    pub(super) fn queues(&self, lanes: &[usize]) -> Vec<String> {
        lanes
            .iter()
            .map(|&lane| self.lanes[lane].queue.clone())
            .collect()
    }

    /// Gives the lanes that there is a reason to look at, in their turn.
    pub(super) fn undecided(&self) -> Vec<usize> {
        let count = self.lanes.len();
        let mut lanes: Vec<usize> = (0..count).filter(|&lane| !self.lanes[lane].dry).collect();
        lanes.sort_by_key(|&lane| Reverse(lane.wrapping_add(self.turn) % count));
        lanes
    }

    /// Puts a claim together: lanes with room and a reason to look, in their turn; `None`: there is none.
    pub(super) fn ask(&self, room: &Room, batch: usize) -> Option<Ask> {
        let started = Instant::now();
        let mut in_turn = self.undecided();
        in_turn.retain(|&lane| room.lanes[lane].most > 0);
        in_turn.sort_by_key(|&lane| room.kept_for != Some(lane)); // it can start at once, whatever the others take
        let mut ask = Ask {
            open: Vec::new(),
            most: Vec::new(),
            free: Vec::new(),
            sweeps: Vec::new(),
            total: room.total.min(batch),
            started,
        };
        for (lane, shared) in shares(&in_turn, room) {
            ask.open.push(lane);
            ask.most.push(shared.most.min(batch));
            ask.free.push(shared.free.min(batch));
            let cursor = &self.lanes[lane].cursor;
            ask.sweeps.push(cursor.sweep_is_due(started));
        }
        (ask.total > 0 && !ask.open.is_empty()).then_some(ask)
    }

    /// Is true when there is a reason to look at a lane that has room.
    pub(super) fn is_open(&self, room: &Room) -> bool {
        let mut lanes = self.lanes.iter().zip(&room.lanes);
        room.total > 0 && lanes.any(|(lane, room)| room.most > 0 && !lane.dry)
    }

    /// Gives the cursor of a lane.
    pub(super) fn cursor(&self, lane: usize) -> &Cursor {
        &self.lanes[lane].cursor
    }

    /// Moves cursors and marks by what a claim found. `alone`: no run of ours was on its way when it was asked.
    pub(super) fn note_claim(&mut self, ask: &Ask, found: &Found, alone: bool) {
        let now = Instant::now();
        let stopped_early = found.visited >= ask.total;
        // A claim that stopped early has not visited the lanes behind the last one that gave something.
        let gave = |lane: &usize| found.jobs.iter().any(|job| job.lane == *lane);
        let visited = if stopped_early {
            ask.open.iter().rposition(gave).map_or(0, |last| last + 1)
        } else {
            ask.open.len()
        };
        for (position, &number) in ask.open.iter().enumerate() {
            let of_lane = |job: &&FoundJob| job.lane == number;
            let jobs: Vec<&FoundJob> = found.jobs.iter().filter(of_lane).collect();
            let left = ask.may_have_left(position, jobs.len(), found);
            let full = jobs.len() >= ask.most[position] || stopped_early || left;
            let lane = &mut self.lanes[number];
            if ask.sweeps[position] && position < visited {
                lane.cursor.swept(now, now.duration_since(ask.started));
            }
            match jobs.iter().map(|job| job.place).max() {
                _ if !full => lane.cursor.exhausted(),
                Some(last) => lane.cursor.stopped_at(last),
                None => {}
            }
            for job in &jobs {
                lane.ahead.note_bytes(job.bytes);
            }
            let last_chance = left || jobs.iter().any(|job| job.is_last_chance);
            lane.ahead.note_claim(!full, last_chance);
            lane.dry = !full;
            lane.swept_dry = !full && ask.sweeps[position];
            // The lanes' sweeps fall due at different times: one that was empty stays so while others are swept.
            lane.empty = alone && found.jobs.is_empty() && !full && (lane.swept_dry || lane.empty);
            lane.mark.claimed(now, jobs.len(), full);
        }
        self.turn = self.turn.wrapping_add(1);
    }

    /// Notes which queues were heard of.
    pub(super) fn note_heard(&mut self, heard: &Heard) {
        let now = Instant::now();
        for lane in &mut self.lanes {
            if heard.all || heard.queues.contains(&lane.queue) {
                lane.mark.woken(now);
                (lane.dry, lane.empty) = (false, false);
            }
        }
    }

    pub(super) fn look_at_all(&mut self) {
        for lane in &mut self.lanes {
            lane.dry = false;
        }
    }

    /// A run has ended, and may have enqueued more.
    pub(super) fn note_ended(&mut self) {
        for lane in &mut self.lanes {
            (lane.dry, lane.empty) = (false, false);
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

    /// Sets marks again that are believed to be set: another worker may have cleared them and died. True: there are some.
    pub(super) fn renew_marks(&mut self) -> bool {
        let quiet = self.lanes.iter_mut().filter(|lane| !lane.mark.is_busy());
        quiet.map(|lane| lane.mark.forget()).count() > 0
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

    /// Is true when such a queue has run dry: only a poll finds what is new.
    pub(super) fn is_busy_and_dry(&self) -> bool {
        let mut lanes = self.lanes.iter();
        lanes.any(|lane| lane.mark.is_busy() && lane.dry)
    }

    /// Is true when nothing but time or a notification is a reason to look: what has room is dry, and all is announced.
    pub(super) fn is_quiet(&self, room: &Room) -> bool {
        let mut lanes = self.lanes.iter().zip(&room.lanes);
        lanes.all(|(lane, room)| (lane.dry || room.most == 0) && !lane.mark.is_busy())
    }

    /// Is true when a queue that is announced has no free slot for what a re-poll would find.
    pub(super) fn cannot_repoll(&self, room: &Room) -> bool {
        let mut lanes = self.lanes.iter().zip(&room.lanes);
        lanes.any(|(lane, room)| room.most == 0 && !lane.mark.is_busy())
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

impl Ask {
    /// Is true when the claim may have left jobs of a lane that have no retry left. It takes such a job only into a free slot.
    /// If it took nothing at all, it could not say how many it visited.
    fn may_have_left(&self, position: usize, found: usize, all: &Found) -> bool {
        let (most, free) = (self.most[position], self.free[position]);
        let left_some = all.visited > all.jobs.len() || all.jobs.is_empty() && free == 0;
        left_some && (free..most).contains(&found)
    }
}

/// Shares the free slots out among lanes, so that none is counted twice, and leaves out those for which nothing is left. What
/// is not claimed ahead at all needs no shares: the total keeps it within the slots.
fn shares(in_turn: &[usize], room: &Room) -> Vec<(usize, LaneRoom)> {
    let rooms = in_turn.iter().map(|&lane| (lane, room.lanes[lane]));
    if rooms.clone().all(|(_, room)| room.most == room.free) {
        return rooms.collect();
    }
    let mut left = room.free;
    let share = |(lane, room): (usize, LaneRoom)| {
        let free = room.free.min(left);
        left -= free;
        let most = room.most - room.free + free;
        (most > 0).then_some((lane, LaneRoom { most, free }))
    };
    rooms.filter_map(share).collect()
}
