//! What may happen next, and when.

use super::job::{Ending, Job, State};
use super::process::{Mode, Process, Run, Stage};
use super::rules::Rules;
use super::{Budget, WorkerId, World};

/// Which jobs a claim takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Pick {
    /// These, as bits: the others are locked by somebody, or not yet due.
    Only(u8),
    /// One that has lost a process, by `claim_suspect.sql`.
    Suspect(u8),
    /// The first in the order of `claim.sql`: at most so many, some of them ahead of the free slots.
    First { most: u8, free: u8 },
    /// The first that has lost a process.
    FirstSuspect,
}

/// One step. Processes, jobs and runs go by their position.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Event {
    /// A claim is sent, and its snapshot taken.
    BeginClaim(usize),
    /// It takes its rows and commits.
    Take(usize, Pick),
    /// Both at once.
    Claim(usize, Pick),
    /// The process hears what it took.
    Answer(usize),
    /// The process waits for the answer no more.
    LoseAnswer(usize),
    /// A handler ends, or what was not begun is given back.
    End(usize, usize, Ending),
    /// `complete_in` in the handler's transaction.
    OpenEffect(usize, usize),
    CommitEffect(usize, usize),
    /// Committed, but the handler is not told.
    CommitUnanswered(usize, usize),
    RollBack(usize, usize),
    /// An end is stored; or it does not come back, and what the row is now is read.
    Ack(usize, usize),
    /// The same, and what does not come back is read later.
    SendAck(usize, usize),
    /// It is stored, but the process is not told.
    AckUnanswered(usize, usize),
    ReadBack(usize, usize),
    Beat(usize),
    /// A lease runs out.
    RunOut(WorkerId),
    Pause(usize),
    Resume(usize),
    Crash(usize),
    Start(usize),
    /// A graceful stop begins.
    Stop(usize),
    Leave(usize),
    /// The rescue: delete expired rows, find missing owners, take their jobs.
    Expire(usize),
    Pin(usize),
    Rescue(usize),
    /// The process notes what it knows, and then releases what it does not.
    BeginReconcile(usize),
    EndReconcile(usize),
    /// Both at once.
    Reconcile(usize),
    Cancel(usize),
    Requeue(usize),
    /// With such a unique key, priority and number of retries.
    Enqueue(Option<u8>, u8, i8),
    RunNow(usize),
    Purge(usize),
}

impl World {
    /// May this happen now?
    pub(crate) fn allows(&self, event: Event, rules: &Rules) -> bool {
        match event {
            Event::BeginClaim(p) => {
                self.budget.slow > 0 && self.may_claim(&self.processes[p], rules)
            }
            Event::Claim(p, pick) => {
                let process = &self.processes[p];
                let is_registered = self.is_registered(process.id);
                self.may_claim(process, rules)
                    && self.may_pick(process, pick, is_registered, &self.claimable(), rules)
            }
            Event::Take(p, pick) => self.may_take(&self.processes[p], pick, rules),
            Event::Answer(p) => {
                let process = &self.processes[p];
                let claim = process.claim.as_ref();
                process.is_awake() && claim.is_some_and(|claim| claim.taken.is_some())
            }
            Event::LoseAnswer(p) => {
                let process = &self.processes[p];
                let claim = process.claim.as_ref();
                process.is_awake()
                    && self.budget.lost_replies > 0
                    && claim.is_some_and(|claim| !claim.is_given_up)
            }
            Event::End(p, r, ending) => self
                .run(p, r)
                .is_some_and(|run| run.stage == Stage::Runs && self.may_end(p, run, ending)),
            Event::OpenEffect(p, r) => self
                .run(p, r)
                .is_some_and(|run| run.stage == Stage::Runs && self.is_free(run)),
            Event::CommitEffect(p, r) => {
                self.run(p, r).is_some_and(|run| run.stage == Stage::Effect)
            }
            Event::CommitUnanswered(p, r) => {
                self.budget.lost_replies > 0
                    && self.run(p, r).is_some_and(|run| run.stage == Stage::Effect)
            }
            // The server ends a transaction that idles, even one whose process stands still.
            Event::RollBack(p, r) => {
                let mut runs = self.processes[p].runs.iter();
                runs.nth(r).is_some_and(|run| run.stage == Stage::Effect)
            }
            Event::Ack(p, r) => self.may_ack(p, r),
            Event::SendAck(p, r) => self.budget.slow > 0 && self.may_ack(p, r),
            Event::AckUnanswered(p, r) => {
                self.budget.lost_replies > 0
                    && self.may_ack(p, r)
                    && self.run(p, r).is_some_and(|run| {
                        self.jobs[usize::from(run.job)].is_run_by(run, rules.fence, rules)
                    })
            }
            Event::ReadBack(p, r) => self
                .run(p, r)
                .is_some_and(|run| matches!(run.stage, Stage::Missed(_))),
            Event::RunOut(id) => self.may_run_out(id),
            Event::Cancel(_) | Event::Requeue(_) | Event::RunNow(_) | Event::Purge(_) => {
                self.allows_operator(event)
            }
            // It waits for a transaction that may end the job with its key.
            Event::Enqueue(key, ..) => {
                let mut jobs = self.jobs.iter();
                key.is_none() || !jobs.any(|job| job.key == key && job.locked_by.is_some())
            }
            event => self.allows_of_process(event, rules),
        }
    }

    fn allows_of_process(&self, event: Event, rules: &Rules) -> bool {
        let Budget {
            crashes,
            pauses,
            stops,
            ..
        } = self.budget;
        match event {
            // Nothing would change but the time at which the lease runs out.
            Event::Beat(p) => {
                let process = &self.processes[p];
                process.is_awake() && self.has_expired(process.id)
                    || process.is_up() && !self.is_registered(process.id)
            }
            Event::Pause(p) => pauses > 0 && self.processes[p].is_up(),
            Event::Resume(p) => self.processes[p].mode == Mode::Paused,
            Event::Crash(p) => crashes > 0 && self.processes[p].mode != Mode::Down,
            Event::Start(p) => self.processes[p].mode == Mode::Down,
            Event::Stop(p) => stops > 0 && self.processes[p].is_up(),
            Event::Leave(p) => {
                let process = &self.processes[p];
                let waits = process.claim.as_ref().is_some_and(|it| !it.is_given_up);
                let is_idle = process.runs.is_empty() && !waits;
                process.mode == Mode::Stopping && is_idle
            }
            Event::Expire(p) => {
                self.processes[p].is_up() && self.rows.iter().any(|row| row.has_expired)
            }
            Event::Pin(p) => {
                let process = &self.processes[p];
                process.is_up() && process.pinned.is_none() && self.has_to_rescue(process, rules)
            }
            Event::Rescue(p) => self.processes[p].is_up() && self.processes[p].pinned.is_some(),
            Event::BeginReconcile(p) => self.budget.slow > 0 && self.may_reconcile(p, rules),
            Event::Reconcile(p) => self.may_reconcile(p, rules),
            Event::EndReconcile(p) => {
                self.processes[p].is_up() && self.processes[p].reconcile.is_some()
            }
            _ => false,
        }
    }

    /// What is refused for its job's state or key may be asked for all the same.
    fn allows_operator(&self, event: Event) -> bool {
        let exists = |job: usize| {
            let job = self.jobs.get(job);
            job.is_some_and(|job| job.state != State::Gone)
        };
        match event {
            Event::Cancel(job) => self.budget.cancels > 0 && exists(job),
            Event::Requeue(job) => self.budget.requeues > 0 && exists(job),
            Event::RunNow(job) | Event::Purge(job) => exists(job),
            _ => false,
        }
    }

    pub(crate) fn may_requeue(&self, job: &Job, rules: &Rules) -> bool {
        let has_ended = !job.state.is_active() && job.state != State::Gone;
        has_ended && !(rules.guards_keys && self.is_taken(job.key))
    }

    /// A run of a process that can do something.
    pub(crate) fn run(&self, process: usize, run: usize) -> Option<&Run> {
        let process = &self.processes[process];
        process.runs.get(run).filter(|_| process.is_awake())
    }

    fn may_claim(&self, process: &Process, rules: &Rules) -> bool {
        // A statement that nobody waits for ends with its session at the latest.
        let waits = process.claim.as_ref().is_some_and(|it| !it.is_given_up);
        process.is_up()
            && !waits
            && process.free_slots(rules.slots) > 0
            && self.jobs.iter().any(Job::is_claimable)
    }

    fn may_take(&self, process: &Process, pick: Pick, rules: &Rules) -> bool {
        let Some(claim) = process.claim.as_ref().filter(|it| it.taken.is_none()) else {
            return false;
        };
        match rules.locks_rows {
            true => self.may_pick(process, pick, claim.is_registered, &self.claimable(), rules),
            false => self.may_pick(process, pick, claim.is_registered, &claim.seen, rules),
        }
    }

    pub(super) fn claimable(&self) -> Vec<u8> {
        let all = 0..position(self.jobs.len());
        all.filter(|job| self.jobs[usize::from(*job)].is_claimable())
            .collect()
    }

    fn may_pick(
        &self,
        process: &Process,
        pick: Pick,
        is_registered: bool,
        found: &[u8],
        rules: &Rules,
    ) -> bool {
        let has_lost = |job: u8| self.jobs[usize::from(job)].lost > 0;
        match pick {
            Pick::Only(0) => !is_registered || found.is_empty(),
            Pick::Only(jobs) => {
                let all = 0..position(self.jobs.len());
                let mut picked = all.filter(|job| jobs & (1 << job) != 0);
                is_registered
                    && jobs.count_ones() as usize <= process.free_slots(rules.slots)
                    && picked.all(|job| found.contains(&job) && !has_lost(job))
            }
            // A process runs at most one such job at a time.
            Pick::Suspect(job) => {
                is_registered
                    && found.contains(&job)
                    && has_lost(job)
                    && !process.runs.iter().any(|run| has_lost(run.job))
            }
            Pick::First { .. } | Pick::FirstSuspect => true,
        }
    }

    fn may_end(&self, p: usize, run: &Run, ending: Ending) -> bool {
        let process = &self.processes[p];
        let job = &self.jobs[usize::from(run.job)];
        match ending {
            Ending::Released => {
                process.mode == Mode::Stopping
                    || run.worker != process.id
                    || self.budget.releases > 0
            }
            // `cancel_requests.sql`
            Ending::Cancelled => {
                job.is_cancel_requested
                    && job.claimed_by == Some(process.id)
                    && job.token == run.token
            }
            _ => true,
        }
    }

    fn may_ack(&self, p: usize, r: usize) -> bool {
        self.run(p, r)
            .is_some_and(|run| matches!(run.stage, Stage::Ended(_)) && self.is_free(run))
    }

    /// No open transaction holds the run's row.
    fn is_free(&self, run: &Run) -> bool {
        self.jobs[usize::from(run.job)].locked_by.is_none()
    }

    /// The lease of a process that is awake runs out only if its beats do not get through.
    fn may_run_out(&self, id: WorkerId) -> bool {
        let mut processes = self.processes.iter();
        let beats = processes.any(|process| process.id == id && process.is_awake());
        let mut rows = self.rows.iter();
        rows.any(|row| row.id == id && !row.has_expired) && (!beats || self.budget.pauses > 0)
    }

    fn may_reconcile(&self, p: usize, rules: &Rules) -> bool {
        let process = &self.processes[p];
        let mut jobs = self.jobs.iter();
        let has_jobs = jobs.any(|job| job.claimed_by == Some(process.id));
        rules.reconciles && process.is_up() && process.reconcile.is_none() && has_jobs
    }

    fn has_to_rescue(&self, judge: &Process, rules: &Rules) -> bool {
        let mut owners = self.jobs.iter().filter_map(|job| job.claimed_by);
        match rules.waits_for_leases {
            true => owners.any(|id| !self.is_registered(id)),
            false => owners.any(|id| id != judge.id),
        }
    }
}

/// A position, as worlds hold it.
pub(crate) fn position(index: usize) -> u8 {
    u8::try_from(index).expect("invariant: a world has few jobs")
}
