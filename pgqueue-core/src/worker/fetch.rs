//! The loop that claims: as many jobs as there are free slots, again the moment some are free, and otherwise asleep
//! until a notification, the next scheduled job, or the poll interval.

use std::cmp::Reverse;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::cursor::{Cursor, PRIORITIES};
use super::engine::{Engine, Heard};
use super::execute::{self, Claimed};
use super::flights::StopReason;
use super::shutdown::Phase;
use super::wake_mark::{BUSY_POLL, MarkChange, WakeMark};
use crate::backoff;
use crate::error::Error;
use crate::model::Span;
use crate::source::{Link, Purpose};
use crate::sql::{Claim, ClaimSuspect, ClearMarks, NextDue, SetMarks};

/// The first re-poll after a mark was set; each next one comes after twice the time, up to the poll interval.
/// It finds the job of a transaction that looked before the mark was set and committed after the claim.
const FIRST_REPOLL: Duration = Duration::from_millis(10);
/// While no slot is free nobody polls: after so long a mark must be set for the other workers.
const STALLED: Duration = Duration::from_millis(100);
/// How often a job that has lost a process is looked for while none was found.
const SUSPECT_INTERVAL: Duration = Duration::from_secs(1);

/// One queue as the fetch loop sees it.
struct Lane {
    cursor: Cursor,
    mark: WakeMark,
    /// The last claim found no more; wait for a reason to look again.
    dry: bool,
    /// That claim was a sweep: there is nothing, not just nothing new.
    swept_dry: bool,
    /// And none of our runs, which may enqueue more, was on its way: there will be nothing.
    empty: bool,
}

/// Claims until the worker drains.
pub(super) async fn fetch_jobs(engine: Arc<Engine>) {
    let mut fetcher = Fetcher::new(engine);
    let mut failures = 0;
    while fetcher.engine.is_running() {
        match fetcher.round().await {
            Ok(()) => failures = 0,
            Err(error) => {
                failures += 1;
                tracing::warn!(%error, "cannot claim jobs; trying again");
                fetcher.reconnect();
                let wait = backoff::exponential(Duration::from_millis(100), failures)
                    .min(Duration::from_secs(5));
                let wait = wait.mul_f64(0.5 + fastrand::f64() / 2.0);
                fetcher.engine.sleep_unless(Phase::Draining, wait).await;
            }
        }
    }
    fetcher.hand_marks_on().await;
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}

struct Fetcher {
    engine: Arc<Engine>,
    link: Link,
    lanes: Vec<Lane>,
    batch: i64,
    /// Which lane comes first in the next claim, so that a busy queue does not starve the others.
    turn: usize,
    poll_at: Instant,
    repoll: Duration,
    repoll_at: Instant,
    next_due: Option<Instant>,
    suspect_at: Instant,
    /// A look for a job that has lost a process is owed: it was put off, or the last one found one and there may be more.
    suspects_owed: bool,
    claimed_at: Instant,
}

impl Fetcher {
    fn new(engine: Arc<Engine>) -> Self {
        let now = Instant::now();
        let lane = |_: &_| Lane {
            cursor: Cursor::new(),
            mark: WakeMark::new(now),
            dry: false,
            swept_dry: false,
            empty: false,
        };
        Self {
            link: Link::new(engine.connections.clone(), Purpose::Claim),
            lanes: engine.lanes.iter().map(lane).collect(),
            batch: 0,
            turn: 0,
            poll_at: now,
            repoll: FIRST_REPOLL,
            repoll_at: now,
            next_due: None,
            suspect_at: now,
            suspects_owed: true,
            claimed_at: now,
            engine,
        }
    }

    /// Claims once if there is a reason to, and then waits for the next reason.
    async fn round(&mut self) -> Result<(), Error> {
        self.change_marks().await?;
        // First: in a backlog the claim takes every free slot, and what has lost a process would never come to its turn.
        self.claim_suspect().await?;
        let (total, free) = self.engine.slots.free();
        let open: Vec<usize> = self
            .in_turn()
            .filter(|&lane| free[lane] > 0 && !self.lanes[lane].dry)
            .collect();
        if !open.is_empty() {
            let slots: Vec<usize> = open
                .iter()
                .map(|&lane| free[lane].min(self.engine.config.batch))
                .collect();
            self.claim(&open, &slots, total.min(self.engine.config.batch))
                .await?;
            self.suspects_owed = true;
        }
        if self.is_finished() {
            self.engine.shutdown.stop();
            return Ok(());
        }
        let (_, free) = self.engine.slots.free();
        if (0..self.lanes.len()).any(|lane| free[lane] > 0 && !self.lanes[lane].dry) {
            tokio::task::yield_now().await;
            return Ok(());
        }
        // A full lane is no reason to oversleep the schedule of another.
        let mut lanes = self.lanes.iter().zip(&free);
        if lanes.all(|(lane, &free)| (lane.dry || free == 0) && !lane.mark.is_busy()) {
            self.look_ahead().await?;
        }
        self.wait().await;
        Ok(())
    }

    async fn claim(&mut self, open: &[usize], slots: &[usize], total: usize) -> Result<(), Error> {
        let started = Instant::now();
        let alone = self.engine.flights.is_empty();
        let sweeps: Vec<bool> = open
            .iter()
            .map(|&lane| self.lanes[lane].cursor.sweep_is_due(started))
            .collect();
        let queues: Vec<String> = open
            .iter()
            .map(|&lane| self.engine.lanes[lane].queue.clone())
            .collect();
        let counts: Vec<i32> = slots
            .iter()
            .map(|&count| i32::try_from(count).unwrap_or(i32::MAX))
            .collect();
        let mut after_run_at = Vec::with_capacity(open.len() * PRIORITIES);
        let mut after_id = Vec::with_capacity(open.len() * PRIORITIES);
        for (&lane, &sweep) in open.iter().zip(&sweeps) {
            for (run_at, id) in self.lanes[lane].cursor.starts(sweep) {
                after_run_at.push(run_at);
                after_id.push(id);
            }
        }
        self.batch += 1;
        let worker = self.engine.worker_id();
        let statement = Claim {
            queues: &queues,
            slots: &counts,
            after_run_at: &after_run_at,
            after_id: &after_id,
            kinds: &self.engine.kinds,
            total: i64::try_from(total).unwrap_or(i64::MAX),
            worker,
            batch: self.batch,
            default_timeout: self.engine.config.timeout.map(Span),
        };
        let answer = self.link.load::<_, Claimed>(statement).await;
        let claimed = self.start(answer, worker)?;
        let alone = alone && claimed.is_empty();
        self.note_claim(open, slots, &sweeps, started, total, claimed);
        for &lane in open {
            self.lanes[lane].empty = alone && self.lanes[lane].swept_dry;
        }
        Ok(())
    }

    /// Moves cursors and marks by what a claim found.
    fn note_claim(
        &mut self,
        open: &[usize],
        slots: &[usize],
        sweeps: &[bool],
        started: Instant,
        total: usize,
        claimed: Vec<(usize, super::cursor::Place)>,
    ) {
        let now = Instant::now();
        self.claimed_at = now;
        let stopped_early = claimed.len() >= total;
        // A claim that stopped early has not visited the lanes behind the last one that gave something.
        let visited = if stopped_early {
            open.iter()
                .rposition(|lane| claimed.iter().any(|(of, _)| of == lane))
                .map_or(0, |last| last + 1)
        } else {
            open.len()
        };
        for (position, &lane) in open.iter().enumerate() {
            let found = claimed.iter().filter(|(of, _)| *of == lane).count();
            let full = found >= slots[position] || stopped_early;
            let last = claimed
                .iter()
                .filter(|(of, _)| *of == lane)
                .map(|(_, place)| *place)
                .max();
            let lane = &mut self.lanes[lane];
            if sweeps[position] && position < visited {
                lane.cursor.swept(now, now.duration_since(started));
            }
            match last {
                _ if !full => lane.cursor.exhausted(),
                Some(last) => lane.cursor.stopped_at(last),
                None => {}
            }
            lane.dry = !full;
            lane.swept_dry = !full && sweeps[position];
            lane.mark.claimed(now, found, found > 0 && full);
        }
        self.turn = self.turn.wrapping_add(1);
    }

    /// Claims one job that has lost a process before, if a look is owed and none such runs: alone, it can only take itself down.
    async fn claim_suspect(&mut self) -> Result<(), Error> {
        let at = self.suspect_look();
        let now = Instant::now();
        if at.is_none_or(|at| at > now) {
            return Ok(());
        }
        let (_, free) = self.engine.slots.free();
        self.suspect_at = now + SUSPECT_INTERVAL;
        let queues: Vec<String> = self
            .in_turn()
            .filter(|&lane| free[lane] > 0)
            .map(|lane| self.engine.lanes[lane].queue.clone())
            .collect();
        self.batch += 1;
        let worker = self.engine.worker_id();
        let statement = ClaimSuspect {
            queues: &queues,
            kinds: &self.engine.kinds,
            worker,
            batch: self.batch,
            default_timeout: self.engine.config.timeout.map(Span),
        };
        let answer = self.link.load::<_, Claimed>(statement).await;
        self.suspects_owed = !self.start(answer, worker)?.is_empty();
        if self.suspects_owed {
            self.suspect_at = now;
        }
        Ok(())
    }

    /// Gives the instant of the look for suspects that is owed, if it could take one. The last thing to do is done at once.
    fn suspect_look(&self) -> Option<Instant> {
        let (total, _) = self.engine.slots.free();
        let last = self.engine.until_empty && self.lanes.iter().all(|lane| lane.empty);
        let possible = self.suspects_owed && total > 0 && !self.engine.flights.has_suspect();
        possible.then(|| {
            if last {
                Instant::now()
            } else {
                self.suspect_at
            }
        })
    }

    /// Starts what a claim answered, in order, and ends the claim's batch: known first, ended then, or reconcile would
    /// release what is just being started.
    fn start(
        &mut self,
        answer: Result<Vec<Claimed>, Error>,
        worker: i64,
    ) -> Result<Vec<(usize, super::cursor::Place)>, Error> {
        let mut places = Vec::new();
        let answer = answer.map(|mut claimed| {
            claimed.sort_by_key(Claimed::place);
            for job in claimed {
                let lane = self
                    .engine
                    .lanes
                    .iter()
                    .position(|lane| lane.queue == job.queue)
                    .unwrap_or(0);
                places.push((lane, job.place()));
                let slot = self.engine.slots.take(lane);
                execute::start(&self.engine, job, slot);
            }
            if self.engine.worker_id() != worker {
                // Registered anew while the claim was on its way: what it took belongs to a worker that is given up.
                self.engine.flights.stop_all(StopReason::LeaseLost);
            }
        });
        self.engine.end_batch(self.batch);
        answer.map(|()| places)
    }

    /// Asks when the next scheduled job is due.
    async fn look_ahead(&mut self) -> Result<(), Error> {
        let queues: Vec<String> = self
            .engine
            .lanes
            .iter()
            .map(|lane| lane.queue.clone())
            .collect();
        let due: Vec<Option<f64>> = self.link.load(NextDue { queues: &queues }).await?;
        let seconds = due.into_iter().flatten().next();
        // A hair later than due, so that the claim's now() has passed it.
        self.next_due = seconds
            .filter(|seconds| *seconds < self.engine.config.poll_interval.as_secs_f64())
            .map(|seconds| {
                Instant::now()
                    + Duration::from_secs_f64(seconds.max(0.0))
                    + Duration::from_millis(1)
            });
        Ok(())
    }

    async fn wait(&mut self) {
        let engine = Arc::clone(&self.engine);
        let (until, suspects) = (self.next_reason(), self.suspect_look());
        tokio::select! {
            heard = engine.wakes.heard() => self.note_heard(&heard),
            () = engine.slots.freed() => self.note_freed(),
            () = tokio::time::sleep_until(until.into()) => self.note_time(),
            () = sleep_until(suspects) => {} // the next round looks for them, and for nothing else
            () = engine.shutdown.reached(Phase::Draining) => {}
        }
    }

    /// Gives the earliest instant at which time alone is a reason to look.
    fn next_reason(&self) -> Instant {
        let now = Instant::now();
        let busy = self.lanes.iter().any(|lane| lane.mark.is_busy());
        let sweep = self
            .lanes
            .iter()
            .filter(|lane| lane.dry && !lane.swept_dry)
            .filter_map(|lane| lane.cursor.sweep_at())
            .min();
        let (total, _) = self.engine.slots.free();
        let busy_poll = busy.then(|| now + if total > 0 { BUSY_POLL } else { STALLED });
        [
            Some(self.poll_at),
            Some(self.repoll_at),
            self.next_due,
            sweep,
            busy_poll,
        ]
        .into_iter()
        .flatten()
        .min()
        .map_or(self.poll_at, |at| at.max(now + Duration::from_millis(1)))
    }

    fn note_heard(&mut self, heard: &Heard) {
        let now = Instant::now();
        for (lane, setting) in self.lanes.iter_mut().zip(&self.engine.lanes) {
            if heard.all || heard.queues.contains(&setting.queue) {
                lane.mark.woken(now);
                lane.dry = false;
            }
        }
    }

    fn note_freed(&mut self) {
        if self.engine.until_empty {
            self.look_at_all(); // a run that ended may have enqueued more
        }
    }

    fn note_time(&mut self) {
        let now = Instant::now();
        self.look_at_all();
        if self.next_due.is_some_and(|due| due <= now) {
            self.next_due = None;
        }
        if self.repoll_at <= now {
            self.repoll = (self.repoll * 2).min(self.engine.config.poll_interval);
            self.repoll_at = now + self.repoll;
        }
        if self.poll_at <= now {
            self.poll_at = now + self.engine.config.poll_interval;
            for lane in &mut self.lanes {
                if !lane.mark.is_busy() {
                    lane.mark.forget(); // another worker may have cleared it and died
                }
            }
        }
    }

    fn look_at_all(&mut self) {
        for lane in &mut self.lanes {
            lane.dry = false;
        }
    }

    /// Brings the marks in the database to what the policy wants. After a mark is set, the next claim must look at the
    /// queue, and re-polls follow: a transaction may have looked at the mark before.
    async fn change_marks(&mut self) -> Result<(), Error> {
        let now = Instant::now();
        let mut set = Vec::new();
        let mut clear = Vec::new();
        for (lane, setting) in self.lanes.iter_mut().zip(&self.engine.lanes) {
            match lane.mark.change(now) {
                Some(MarkChange::Set) => {
                    lane.dry = false;
                    set.push(setting.queue.clone());
                }
                Some(MarkChange::Clear) => clear.push(setting.queue.clone()),
                None => {}
            }
        }
        if !set.is_empty() {
            let horizon = Span(self.engine.config.poll_interval);
            let changed: Vec<(String, String)> = self
                .link
                .load(SetMarks {
                    queues: &set,
                    horizon,
                })
                .await?;
            if !changed.is_empty() {
                self.repoll = FIRST_REPOLL.min(self.engine.config.poll_interval);
                self.repoll_at = now + self.repoll;
            }
        }
        if !clear.is_empty() {
            let _changed: Vec<String> = self.link.load(ClearMarks { queues: &clear }).await?;
        }
        Ok(())
    }

    /// Leaves the marks set, so that other workers are woken for what this one would have polled.
    async fn hand_marks_on(&mut self) {
        let queues: Vec<String> = self
            .engine
            .lanes
            .iter()
            .map(|lane| lane.queue.clone())
            .collect();
        let horizon = Span(self.engine.config.poll_interval);
        if let Err(error) = self
            .link
            .load::<_, (String, String)>(SetMarks {
                queues: &queues,
                horizon,
            })
            .await
        {
            tracing::debug!(%error, "cannot set the wake marks at the end; other workers find their jobs by polling");
        }
    }

    /// After a failure everything may have changed: mark, cursor and schedule start anew.
    fn reconnect(&mut self) {
        self.engine.end_batch(self.batch);
        self.link.disconnect();
        self.next_due = None;
        for lane in &mut self.lanes {
            lane.mark.forget();
            lane.cursor = Cursor::new();
            lane.dry = false;
        }
    }

    /// Is true when the worker was asked to run until empty, and is.
    fn is_finished(&self) -> bool {
        self.engine.until_empty
            && self.lanes.iter().all(|lane| lane.empty && lane.dry)
            && !self.suspects_owed
            && self.engine.flights.is_empty()
    }

    fn in_turn(&self) -> impl Iterator<Item = usize> + use<> {
        let (count, turn) = (self.lanes.len(), self.turn);
        let mut order: Vec<usize> = (0..count).collect();
        order.sort_by_key(|&lane| Reverse(lane.wrapping_add(turn) % count));
        order.into_iter()
    }
}
