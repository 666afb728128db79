//! Leases and what follows when they run out; and what a process asks for that it does not know of.

use super::event::position;
use super::process::{Pinned, Reconcile};
use super::rules::Rules;
use super::{World, spend};

impl World {
    /// `beat.sql`, and a new registration when no row comes back.
    pub(super) fn beat(&mut self, p: usize, rules: &Rules) {
        let id = self.processes[p].id;
        match self.rows.iter_mut().find(|row| row.id == id) {
            Some(row) => row.has_expired = false,
            None if rules.renews_ids => self.processes[p].id = self.register(),
            None => {
                let next = std::mem::replace(&mut self.next_id, id);
                self.register();
                self.next_id = next;
            }
        }
    }

    pub(super) fn run_out(&mut self, id: u8) {
        let mut processes = self.processes.iter();
        if processes.any(|process| process.id == id && process.is_awake()) {
            spend(&mut self.budget.pauses);
        }
        for row in self.rows.iter_mut().filter(|row| row.id == id) {
            row.has_expired = true;
        }
    }

    pub(super) fn crash(&mut self, p: usize) {
        for job in &mut self.jobs {
            if job.locked_by == Some(position(p)) {
                job.locked_by = None;
            }
        }
        self.processes[p].crash();
    }

    /// `expire_workers.sql`: only a worker whose own lease holds may judge.
    pub(super) fn expire(&mut self, p: usize) {
        let judge = self.processes[p].id;
        if self.is_registered(judge) && !self.has_expired(judge) {
            self.rows.retain(|row| !row.has_expired);
        }
    }

    pub(super) fn pin(&mut self, p: usize, rules: &Rules) {
        let judge = self.processes[p].id;
        let mut pinned = Pinned {
            owners: self.missing_owners(),
            seen: Vec::new(),
            jobs: Vec::new(),
        };
        if !rules.waits_for_leases {
            let owners = self.jobs.iter().filter_map(|job| job.claimed_by);
            pinned.owners = owners.filter(|&id| id != judge).collect();
        }
        if !rules.pins_owners {
            let owners = std::mem::take(&mut pinned.owners);
            pinned.seen = self.rows.iter().map(|row| row.id).collect();
            pinned.jobs =
                self.positions(|job| job.claimed_by.is_some_and(|id| owners.contains(&id)));
        }
        self.processes[p].pinned = Some(pinned);
    }

    pub(super) fn rescue(&mut self, p: usize, rules: &Rules) {
        let Some(pinned) = self.processes[p].pinned.take() else {
            return;
        };
        for (index, job) in self.jobs.iter_mut().enumerate() {
            let is_stranded = job.claimed_by.is_some_and(|id| match rules.pins_owners {
                true => pinned.owners.contains(&id),
                false => pinned.jobs.contains(&position(index)) && !pinned.seen.contains(&id),
            });
            if is_stranded && job.locked_by.is_none() {
                job.rescue(self.clock, rules);
            }
        }
    }

    pub(super) fn begin_reconcile(&mut self, p: usize, rules: &Rules) {
        let process = &mut self.processes[p];
        process.reconcile = Some(Reconcile {
            worker: process.id,
            ended_batch: match rules.spares_open_claims {
                true => process.ended_batch,
                false => u8::MAX,
            },
            known: process.known(),
        });
    }

    pub(super) fn end_reconcile(&mut self, p: usize) {
        let Some(reconcile) = self.processes[p].reconcile.take() else {
            return;
        };
        for (index, job) in self.jobs.iter_mut().enumerate() {
            let is_forgotten = job.claimed_by == Some(reconcile.worker)
                && job.claim_batch <= Some(reconcile.ended_batch)
                && !reconcile.known.contains(&position(index));
            if is_forgotten && job.locked_by.is_none() {
                job.release_forgotten();
            }
        }
    }
}
