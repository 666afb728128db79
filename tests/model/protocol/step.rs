//! What happens: one function a statement, or a step of a process. Those about leases are in [`lease`](super::lease).

use super::event::{Event, Pick, position};
use super::job::{Ending, Job, State};
use super::process::{Claim, Mode, Run, Stage};
use super::rules::Rules;
use super::{World, spend};

impl World {
    /// Gives the world after an event that it [allows](Self::allows), audited.
    pub(crate) fn after(&self, event: Event, rules: &Rules) -> Self {
        let mut next = self.clone();
        next.apply(event, rules);
        next.audit(self, event, rules);
        next
    }

    /// Lets it happen.
    pub(crate) fn apply(&mut self, event: Event, rules: &Rules) {
        match event {
            Event::BeginClaim(p) => {
                spend(&mut self.budget.slow);
                self.begin_claim(p, rules);
            }
            Event::Take(p, pick) => self.take(p, pick),
            Event::Claim(p, pick) => {
                self.begin_claim(p, rules);
                self.take(p, pick);
            }
            Event::Answer(p) => self.answer(p),
            Event::LoseAnswer(p) => self.lose_answer(p, rules),
            Event::End(p, r, ending) => self.end(p, r, ending),
            Event::OpenEffect(p, r) => self.open_effect(p, r, rules),
            Event::CommitEffect(p, r) => self.commit_effect(p, r, Ending::Completed),
            Event::CommitUnanswered(p, r) => {
                spend(&mut self.budget.lost_replies);
                self.commit_effect(p, r, Ending::Failed);
            }
            Event::RollBack(p, r) => self.roll_back(p, r),
            Event::Ack(p, r) => {
                if !self.send_ack(p, r, rules) {
                    self.read_back(p, r);
                }
            }
            Event::SendAck(p, r) => {
                if !self.send_ack(p, r, rules) {
                    spend(&mut self.budget.slow);
                }
            }
            Event::AckUnanswered(p, r) => {
                spend(&mut self.budget.lost_replies);
                let _stored = self.finish(p, r, rules);
            }
            Event::ReadBack(p, r) => self.read_back(p, r),
            Event::Beat(p) => self.beat(p, rules),
            Event::RunOut(id) => self.run_out(id),
            Event::Expire(p) => self.expire(p),
            Event::Pin(p) => self.pin(p, rules),
            Event::Rescue(p) => self.rescue(p, rules),
            Event::BeginReconcile(p) => {
                spend(&mut self.budget.slow);
                self.begin_reconcile(p, rules);
            }
            Event::EndReconcile(p) => self.end_reconcile(p),
            Event::Reconcile(p) => {
                self.begin_reconcile(p, rules);
                self.end_reconcile(p);
            }
            event => self.apply_rest(event, rules),
        }
    }

    fn apply_rest(&mut self, event: Event, rules: &Rules) {
        let clock = self.clock;
        match event {
            Event::Pause(p) => {
                spend(&mut self.budget.pauses);
                self.processes[p].mode = Mode::Paused;
            }
            Event::Resume(p) => self.processes[p].mode = Mode::Up,
            Event::Crash(p) => {
                spend(&mut self.budget.crashes);
                self.crash(p);
            }
            Event::Start(p) => {
                let id = self.register();
                self.processes[p].start(id);
            }
            Event::Stop(p) => {
                spend(&mut self.budget.stops);
                self.processes[p].mode = Mode::Stopping;
                self.processes[p].pinned = None;
                self.processes[p].reconcile = None;
            }
            Event::Leave(p) => {
                let id = self.processes[p].id;
                self.rows.retain(|row| row.id != id); // unregister.sql
                self.processes[p].crash();
            }
            Event::Cancel(job) => {
                spend(&mut self.budget.cancels);
                let job = &mut self.jobs[job];
                if job.state.is_active() && job.locked_by.is_none() {
                    job.cancel();
                }
            }
            Event::Requeue(job) => {
                spend(&mut self.budget.requeues);
                if self.may_requeue(&self.jobs[job], rules) {
                    self.jobs[job].requeue(clock, rules);
                }
            }
            Event::Enqueue(key, priority, max_retries) if !self.is_taken(key) => {
                self.jobs.push(Job {
                    key,
                    priority,
                    due: Some(clock),
                    ..Job::new(max_retries)
                });
            }
            Event::RunNow(job) => {
                let job = &mut self.jobs[job];
                if job.state == State::Pending && job.due.is_none() {
                    job.due = Some(clock);
                }
            }
            Event::Purge(job) if !self.jobs[job].state.is_active() => {
                self.jobs[job].state = State::Gone;
            }
            _ => {}
        }
    }

    fn begin_claim(&mut self, p: usize, rules: &Rules) {
        let seen = match rules.locks_rows {
            true => Vec::new(),
            false => self.positions(Job::is_claimable),
        };
        let is_registered = self.is_registered(self.processes[p].id);
        let process = &mut self.processes[p];
        process.batch += 1;
        process.claim = Some(Claim {
            worker: process.id,
            batch: process.batch,
            is_registered,
            is_given_up: false,
            seen,
            taken: None,
        });
    }

    fn take(&mut self, p: usize, pick: Pick) {
        let picked = self.pick(pick);
        let Some(claim) = self.processes[p].claim.as_ref() else {
            return;
        };
        let (worker, batch) = (claim.worker, claim.batch);
        let picked = if claim.is_registered {
            picked
        } else {
            Vec::new()
        };
        let mut taken = Vec::with_capacity(picked.len());
        for index in picked {
            let job = &mut self.jobs[usize::from(index)];
            job.claim(worker, batch);
            taken.push(Run {
                job: index,
                token: job.token,
                attempt: job.attempt,
                worker,
                stage: Stage::Runs,
            });
        }
        let process = &mut self.processes[p];
        let is_given_up = process
            .claim
            .as_ref()
            .is_some_and(|claim| claim.is_given_up);
        if is_given_up {
            process.claim = None;
        } else if taken.is_empty() {
            process.end_claim(); // whether it is heard of makes no difference
        } else if let Some(claim) = &mut process.claim {
            claim.taken = Some(taken);
            claim.seen.clear();
        }
    }

    /// The jobs that a claim takes, in its order.
    fn pick(&self, pick: Pick) -> Vec<u8> {
        match pick {
            Pick::Only(jobs) => {
                let all = 0..position(self.jobs.len());
                all.filter(|job| jobs & (1 << job) != 0).collect()
            }
            Pick::Suspect(job) => vec![job],
            Pick::First { most, free } => self.pick_first(usize::from(most), usize::from(free)),
            Pick::FirstSuspect => {
                let mut line = self.positions(|job| job.is_claimable() && job.lost > 0);
                line.sort_by_key(|&job| (self.jobs[usize::from(job)].due, job));
                line.truncate(1);
                line
            }
        }
    }

    /// `claim.sql`: by priority, time and id; ahead of the free slots nothing from a job without a retry left on.
    fn pick_first(&self, most: usize, free: usize) -> Vec<u8> {
        let mut line = self.positions(|job| job.is_claimable() && job.lost == 0);
        line.sort_by_key(|&job| {
            let Job { priority, due, .. } = self.jobs[usize::from(job)];
            (priority, due, job)
        });
        line.truncate(most);
        let is_last_chance = |&job: &u8| self.jobs[usize::from(job)].is_last_chance();
        let taken = match line.iter().position(is_last_chance) {
            Some(first) => free.max(first),
            None => most,
        };
        line.truncate(taken);
        line
    }

    pub(super) fn positions(&self, is_one: impl Fn(&Job) -> bool) -> Vec<u8> {
        let jobs = self.jobs.iter().enumerate();
        jobs.filter(|(_, job)| is_one(job))
            .map(|(index, _)| position(index))
            .collect()
    }

    fn answer(&mut self, p: usize) {
        let process = &mut self.processes[p];
        if let Some(taken) = process.claim.as_mut().and_then(|it| it.taken.take()) {
            process.take_over(taken);
        }
        process.end_claim();
    }

    fn lose_answer(&mut self, p: usize, rules: &Rules) {
        spend(&mut self.budget.lost_replies);
        let process = &mut self.processes[p];
        let sent = process.claim.clone().filter(|claim| claim.taken.is_none());
        if rules.ends_lost_claims {
            process.end_claim();
        }
        process.claim = sent.map(|claim| Claim {
            is_given_up: true,
            ..claim
        });
    }

    fn end(&mut self, p: usize, r: usize, ending: Ending) {
        let process = &mut self.processes[p];
        let run = &mut process.runs[r];
        run.stage = Stage::Ended(ending);
        let has_reason = process.mode == Mode::Stopping || run.worker != process.id;
        if ending == Ending::Released && !has_reason {
            spend(&mut self.budget.releases);
        }
    }

    fn open_effect(&mut self, p: usize, r: usize, rules: &Rules) {
        let run = &mut self.processes[p].runs[r];
        let job = &mut self.jobs[usize::from(run.job)];
        let is_ours = job.is_run_by(run, rules.fence_of_effects, rules);
        if is_ours || !rules.effects_need_rows {
            job.locked_by = Some(position(p));
            run.stage = Stage::Effect;
        } else {
            run.stage = Stage::Ended(Ending::Failed); // the lost lease, by `?`
        }
    }

    fn commit_effect(&mut self, p: usize, r: usize, ending: Ending) {
        let run = &mut self.processes[p].runs[r];
        run.stage = Stage::Ended(ending);
        let job = &mut self.jobs[usize::from(run.job)];
        job.past.effects += 1;
        job.locked_by = None;
        if job.claimed_by.is_some() {
            job.complete();
        }
    }

    fn roll_back(&mut self, p: usize, r: usize) {
        let run = &mut self.processes[p].runs[r];
        run.stage = Stage::Ended(Ending::Failed);
        self.jobs[usize::from(run.job)].locked_by = None;
    }

    /// `finish.sql` for one run; true: it came back.
    fn finish(&mut self, p: usize, r: usize, rules: &Rules) -> bool {
        let run = self.processes[p].runs[r];
        let Stage::Ended(ending) = run.stage else {
            return false;
        };
        let job = &mut self.jobs[usize::from(run.job)];
        let is_ours = job.is_run_by(&run, rules.fence, rules);
        if is_ours {
            job.finish(&run, ending, self.clock, rules);
        }
        is_ours
    }

    /// True: it is stored.
    fn send_ack(&mut self, p: usize, r: usize, rules: &Rules) -> bool {
        let is_stored = self.finish(p, r, rules);
        let runs = &mut self.processes[p].runs;
        if is_stored {
            runs.remove(r);
        } else if let Stage::Ended(ending) = runs[r].stage {
            runs[r].stage = Stage::Missed(ending);
        }
        is_stored
    }

    /// `read_back.sql`: still ours, so it is tried again; or ended by an earlier try or by somebody else.
    fn read_back(&mut self, p: usize, r: usize) {
        let run = self.processes[p].runs[r];
        let job = &self.jobs[usize::from(run.job)];
        let is_ours = job.token == run.token && job.state == State::Running;
        let runs = &mut self.processes[p].runs;
        match run.stage {
            Stage::Missed(ending) if is_ours => runs[r].stage = Stage::Ended(ending),
            _ => {
                runs.remove(r);
            }
        }
    }
}
