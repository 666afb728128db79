//! The loop that claims: as many jobs as there are free slots, again the moment some are free, and otherwise asleep
//! until a notification, the next scheduled job, or the poll interval.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::ahead;
use super::cursor::PRIORITIES;
use super::engine::{Engine, Heard};
use super::execute::{self, Claimed};
use super::failures::Failures;
use super::flights::StopReason;
use super::lanes::{Ask, Found, FoundJob, Lanes};
use super::polls::{Passed, Polls};
use super::shutdown::Phase;
use super::slots::{Reserved, Room};
use super::waiting::Waiting;
use super::wake_mark::{BUSY_POLL, STALLED};
use crate::backoff;
use crate::error::Error;
use crate::model::Span;
use crate::source::{Link, Purpose};
use crate::sql::{AskToRepoll, Claim, ClaimSuspect, ClearMarks, LookAhead, SetMarks};

/// How often a job that has lost a process is looked for while none was found.
const SUSPECT_INTERVAL: Duration = Duration::from_secs(1);

/// Claims until the worker drains.
pub(super) async fn fetch_jobs(engine: Arc<Engine>) {
    let mut fetcher = Fetcher::new(engine);
    let mut failures = Failures::to("claim jobs");
    while fetcher.engine.is_running() {
        match fetcher.round().await {
            Ok(()) => failures.end(fetcher.engine.worker_id()),
            Err(error) => {
                let count = failures.add(&error, fetcher.engine.worker_id());
                fetcher.reconnect();
                let wait = backoff::exponential(Duration::from_millis(100), count)
                    .min(Duration::from_secs(5));
                let wait = wait.mul_f64(0.5 + fastrand::f64() / 2.0);
                fetcher.engine.sleep_unless(Phase::Draining, wait).await;
            }
        }
    }
    execute::give_back(&fetcher.engine, Instant::now()); // none of them starts any more
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
    lanes: Lanes,
    batch: i64,
    polls: Polls,
    /// What woke this round, if time did.
    passed: Passed,
    next_due: Option<Instant>,
    /// It has looked ahead since the last claim.
    looked_ahead: bool,
    suspect_at: Instant,
    /// A look for a job that has lost a process is owed: it was put off, or the last one found one and there may be more.
    suspects_owed: bool,
}

impl Fetcher {
    fn new(engine: Arc<Engine>) -> Self {
        let now = Instant::now();
        Self {
            link: Link::new(engine.connections.clone(), Purpose::Claim),
            lanes: Lanes::new(&engine.lanes, engine.config.concurrency),
            batch: 0,
            polls: Polls::new(now, engine.config.poll_interval),
            passed: Passed::default(),
            next_due: None,
            looked_ahead: false,
            suspect_at: now,
            suspects_owed: true,
            engine,
        }
    }

    /// Claims once if there is a reason to, and then waits for the next reason.
    async fn round(&mut self) -> Result<(), Error> {
        self.lanes.note_done(&self.engine.slots.done());
        let marks_changed = self.change_marks().await;
        // First: in a backlog the claim takes every free slot, and what has lost a process would never come to its turn.
        self.claim_suspect().await?;
        if self.engine.slots.keep_for(&self.lanes.undecided()) {
            execute::start_waiting(&self.engine);
        }
        let room = self.room();
        if let Some(ask) = self.lanes.ask(&room, self.engine.config.batch) {
            let found = self.claim(&ask).await?;
            self.looked_ahead = false;
            // In a backlog nobody looks ahead, and who is to run until all is empty must know.
            self.suspects_owed |= found || self.engine.until_empty;
        }
        marks_changed?; // not before: without marks, jobs are found by claiming
        if self.is_finished() {
            self.engine.shutdown.stop();
            return Ok(());
        }
        let room = self.room();
        if self.lanes.is_open(&room) {
            tokio::task::yield_now().await;
            return Ok(());
        }
        let passed = std::mem::take(&mut self.passed);
        if passed.repoll && self.lanes.cannot_repoll(&room) && self.polls.ask_others() {
            let _sent: Vec<String> = self.link.load(AskToRepoll {}).await?;
        }
        // A full lane is no reason to oversleep the schedule of another.
        if passed.poll || self.lanes.is_quiet(&room) && !self.looked_ahead {
            let marks_are_set = self.look_ahead().await?;
            if passed.poll && !marks_are_set && self.lanes.renew_marks() {
                return Ok(());
            }
        }
        self.wait().await;
        Ok(())
    }

    /// Gives how many jobs may be claimed: for the free slots, and ahead of them.
    fn room(&mut self) -> Room {
        let (config, slots) = (&self.engine.config, &self.engine.slots);
        self.lanes.note_done(&slots.done());
        // While one batch is claimed and one is stored, one runs and one has ended.
        slots.room(&self.lanes.ahead(config.prefetch, 4 * config.batch))
    }

    /// Claims; true: there was something.
    async fn claim(&mut self, ask: &Ask) -> Result<bool, Error> {
        let alone = self.engine.flights.is_empty();
        let mut after_run_at = Vec::with_capacity(ask.open.len() * PRIORITIES);
        let mut after_id = Vec::with_capacity(ask.open.len() * PRIORITIES);
        for (&lane, &sweep) in ask.open.iter().zip(&ask.sweeps) {
            for (run_at, id) in self.lanes.cursor(lane).starts(sweep) {
                after_run_at.push(run_at);
                after_id.push(id);
            }
        }
        self.batch += 1;
        let worker = self.engine.worker_id();
        let statement = Claim {
            queues: &self.lanes.queues(&ask.open),
            most: &counts(&ask.most),
            after_run_at: &after_run_at,
            after_id: &after_id,
            kinds: &self.engine.kinds,
            total: i64::try_from(ask.total).unwrap_or(i64::MAX),
            worker,
            batch: self.batch,
            default_timeout: self.engine.config.timeout.map(Span),
            free: &counts(&ask.free),
            bytes: ahead::bytes_of_each(self.engine.lanes.len()),
        };
        let answer = self.link.load::<_, Claimed>(statement).await;
        let found = self.take(answer, worker)?;
        self.lanes.note_claim(ask, &found, alone);
        Ok(!found.jobs.is_empty())
    }

    /// Claims one job that has lost a process before, if a look is owed and none such runs: alone, it can only take itself down.
    async fn claim_suspect(&mut self) -> Result<(), Error> {
        let look = self.suspect_look();
        let now = Instant::now();
        if self.suspects_owed && look.is_some_and(|at| at <= now) {
            self.suspects_owed = false;
            self.engine.slots.owe_to_suspects();
        }
        let Some(reserved) = self.engine.slots.reserve() else {
            return Ok(());
        };
        self.suspects_owed = true; // unless it is answered that there is none
        self.suspect_at = now + SUSPECT_INTERVAL;
        self.batch += 1;
        let worker = self.engine.worker_id();
        // The first that has one gives it: in turn, or one that always has some would keep the others from it.
        let mut lanes = reserved.lanes().to_vec();
        let turn = usize::try_from(self.batch).unwrap_or(0) % lanes.len().max(1);
        lanes.rotate_left(turn);
        let statement = ClaimSuspect {
            queues: &self.lanes.queues(&lanes),
            kinds: &self.engine.kinds,
            worker,
            batch: self.batch,
            default_timeout: self.engine.config.timeout.map(Span),
        };
        let answer = self.link.load::<_, Claimed>(statement).await;
        let suspect = self.take_suspect(answer, worker, reserved);
        execute::start_waiting(&self.engine);
        let suspect = suspect?;
        self.suspects_owed = suspect;
        if suspect {
            self.suspect_at = now;
        }
        Ok(())
    }

    /// Gives the instant of the next look for suspects, if one is owed and none runs. The last thing to do is done at once.
    fn suspect_look(&self) -> Option<Instant> {
        let slots = &self.engine.slots;
        if slots.can_reserve() {
            return Some(Instant::now());
        }
        let last = self.engine.until_empty && self.lanes.are_empty();
        let possible = self.suspects_owed && !slots.has_suspect();
        possible.then(|| {
            if last {
                Instant::now()
            } else {
                self.suspect_at
            }
        })
    }

    /// Takes over what a claim answered, in order: each job waits until it has a slot, which may be at once.
    fn take(&mut self, answer: Result<Vec<Claimed>, Error>, worker: i64) -> Result<Found, Error> {
        let mut found = Found::default();
        let answer = answer.map(|mut claimed| {
            let since = Instant::now();
            claimed.sort_by_key(Claimed::place);
            let visited = claimed.first().map_or(0, |job| job.visited);
            found.visited = usize::try_from(visited).unwrap_or(0);
            found.jobs = claimed
                .iter()
                .map(|job| FoundJob {
                    lane: self.lanes.position(&job.queue),
                    place: job.place(),
                    bytes: job.payload.bytes(),
                    is_last_chance: job.attempt > job.max_retries,
                })
                .collect();
            let waiting = claimed
                .into_iter()
                .zip(&found.jobs)
                .map(|(job, found)| (found.lane, Waiting::new(&self.engine, job, since)))
                .collect();
            self.engine.slots.wait(waiting);
        });
        self.end_claim(worker);
        execute::start_waiting(&self.engine);
        answer.map(|()| found)
    }

    /// Starts the job that has lost a process, if one was claimed; true: it was.
    fn take_suspect(
        &self,
        answer: Result<Vec<Claimed>, Error>,
        worker: i64,
        reserved: Reserved,
    ) -> Result<bool, Error> {
        let answer = answer.map(|claimed| {
            let job = claimed.into_iter().next()?;
            let slot = reserved.keep(self.lanes.position(&job.queue));
            let job = Waiting::new(&self.engine, job, Instant::now());
            execute::start(&self.engine, job, slot);
            Some(())
        });
        self.end_claim(worker);
        answer.map(|started| started.is_some())
    }

    /// Ends a claim's batch once its jobs are known: before, reconcile would release what is just being started.
    fn end_claim(&self, worker: i64) {
        if self.engine.worker_id() != worker {
            // Registered anew while the claim was on its way: what it took belongs to a worker that is given up.
            self.engine.flights.stop_all(StopReason::LeaseLost);
        }
        self.engine.end_batch(self.batch);
    }

    /// Asks when the next scheduled job is due, and for one that has lost a process; true: all marks are set.
    async fn look_ahead(&mut self) -> Result<bool, Error> {
        let (queues, kinds) = (&self.engine.queues(), &self.engine.kinds);
        let answer: Vec<(Option<f64>, bool, bool)> =
            self.link.load(LookAhead { queues, kinds }).await?;
        let (seconds, has_suspect, lacks_mark) = answer.into_iter().next().unwrap_or_default();
        self.suspects_owed |= has_suspect;
        // A hair later than due, so that the claim's now() has passed it.
        self.next_due = seconds
            .filter(|seconds| *seconds < self.engine.config.poll_interval.as_secs_f64())
            .map(|seconds| {
                Instant::now()
                    + Duration::from_secs_f64(seconds.max(0.0))
                    + Duration::from_millis(1)
            });
        self.looked_ahead = true;
        Ok(!lacks_mark)
    }

    async fn wait(&mut self) {
        let engine = Arc::clone(&self.engine);
        let (until, suspects) = (self.next_reason(), self.suspect_look());
        let patience = engine.config.prefetch_patience();
        let patience = engine.slots.oldest().map(|since| since + patience);
        tokio::select! {
            heard = engine.wakes.heard() => self.note_heard(&heard),
            () = engine.slots.changed() => self.note_freed(),
            () = sleep_until(patience) => self.give_back(),
            () = tokio::time::sleep_until(until.into()) => self.note_time(),
            () = sleep_until(suspects) => {} // the next round looks for them, and for nothing else
            () = engine.shutdown.reached(Phase::Draining) => {}
        }
    }

    /// Gives the earliest instant at which time alone is a reason to look.
    fn next_reason(&self) -> Instant {
        let now = Instant::now();
        let polls = self.lanes.is_busy_and_dry() && self.engine.slots.free() > 0;
        let busy_poll = self
            .lanes
            .is_busy()
            .then_some(now + if polls { BUSY_POLL } else { STALLED });
        [
            Some(self.polls.next()),
            self.next_due,
            self.lanes.sweep_at(),
            busy_poll,
        ]
        .into_iter()
        .flatten()
        .min()
        .map_or(now, |at| at.max(now + Duration::from_millis(1)))
    }

    /// Gives back what was claimed ahead and cannot start, because runs take longer than they did: others may be free.
    fn give_back(&mut self) {
        let patience = self.engine.config.prefetch_patience();
        if let Some(before) = Instant::now().checked_sub(patience) {
            let mut lanes = execute::give_back(&self.engine, before);
            tracing::debug!(jobs = lanes.len(), "gave back jobs that were claimed ahead");
            lanes.dedup();
            self.lanes.note_given_back(&lanes);
        }
    }

    fn note_heard(&mut self, heard: &Heard) {
        self.lanes.note_heard(heard);
        if heard.asked_to_repoll {
            self.lanes.look_at_all();
            self.polls.asked_to(Instant::now());
        }
    }

    fn note_freed(&mut self) {
        if self.engine.until_empty {
            self.lanes.note_ended();
        }
    }

    /// Looks at everything because it is time to.
    fn note_time(&mut self) {
        let now = Instant::now();
        self.lanes.look_at_all();
        self.next_due = self.next_due.filter(|due| *due > now);
        self.passed = self.polls.pass(now);
    }

    /// Brings the marks in the database to what the policy wants. After a mark is set, the next claim looks at the queue,
    /// and re-polls follow: a transaction may have looked at the mark before.
    async fn change_marks(&mut self) -> Result<(), Error> {
        let now = Instant::now();
        let (set, clear) = self.lanes.mark_changes(now);
        if !set.is_empty() && self.set_marks(&set).await? {
            self.polls.mark_set(now);
        }
        if !clear.is_empty() {
            let _changed: Vec<String> = self.link.load(ClearMarks { queues: &clear }).await?;
        }
        Ok(())
    }

    /// Sets the marks of queues; true: some were not set.
    async fn set_marks(&mut self, queues: &[String]) -> Result<bool, Error> {
        let horizon = Span(self.engine.config.poll_interval);
        let statement = SetMarks { queues, horizon };
        let changed: Vec<(String, String)> = self.link.load(statement).await?;
        Ok(!changed.is_empty())
    }

    /// Leaves the marks set, so that other workers are woken for what this one would have polled.
    async fn hand_marks_on(&mut self) {
        let handed_on = async {
            if self.set_marks(&self.engine.queues()).await? || self.polls.ask_others() {
                let _sent: Vec<String> = self.link.load(AskToRepoll {}).await?;
            }
            Ok::<_, Error>(())
        };
        if let Err(error) = handed_on.await {
            tracing::debug!(%error, "cannot set the wake marks at the end; other workers find their jobs by polling");
        }
    }

    /// After a failure everything may have changed: mark, cursor and schedule start anew.
    fn reconnect(&mut self) {
        self.engine.end_batch(self.batch);
        self.link.disconnect();
        self.next_due = None;
        self.lanes.start_anew();
        self.polls.mark_set(Instant::now()); // it may have been, and its answer lost
    }

    /// Is true when the worker was asked to run until empty, and is.
    fn is_finished(&self) -> bool {
        self.engine.until_empty
            && self.lanes.stay_empty()
            && !self.suspects_owed
            && !self.engine.slots.owes_to_suspects()
            && self.engine.flights.is_empty()
    }
}

fn counts(of_each: &[usize]) -> Vec<i32> {
    let count = |&count| i32::try_from(count).unwrap_or(i32::MAX);
    of_each.iter().map(count).collect()
}
