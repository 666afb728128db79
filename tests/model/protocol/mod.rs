//! The protocol's world and its steps. Pure: no clock, no database.
//!
//! [`job`] is a row of `pgqueue_jobs` and what statements do to it, [`process`] what a worker's process believes, [`event`]
//! what may happen, [`step`] and [`lease`] what happens then. [`audit`] watches from outside and says what must never be; [`rules`] are
//! what makes the protocol right, for a test to break.

pub(crate) mod audit;
pub(crate) mod event;
pub(crate) mod job;
mod lease;
pub(crate) mod process;
pub(crate) mod rules;
pub(crate) mod step;

use audit::Wrongs;
use job::{Job, State};
use process::Process;

/// An id of `pgqueue_workers`. None is ever used again.
pub(crate) type WorkerId = u8;

/// A row of `pgqueue_workers`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Row {
    pub(crate) id: WorkerId,
    /// The lease has run out.
    pub(crate) has_expired: bool,
}

/// How often each misfortune may still happen; [`UNLIMITED`](Budget::UNLIMITED) is never used up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) struct Budget {
    pub(crate) crashes: u8,
    /// Processes that stand still, and leases of others that run out because their beats do not get through.
    pub(crate) pauses: u8,
    pub(crate) lost_replies: u8,
    /// Statements between whose look and deed much may happen.
    pub(crate) slow: u8,
    pub(crate) stops: u8,
    /// Jobs that were claimed ahead and are given back.
    pub(crate) releases: u8,
    pub(crate) cancels: u8,
    pub(crate) requeues: u8,
}

impl Budget {
    const UNLIMITED: u8 = u8::MAX;

    pub(crate) const fn unlimited() -> Self {
        let most = Self::UNLIMITED;
        Self {
            crashes: most,
            pauses: most,
            lost_replies: most,
            slow: most,
            stops: most,
            releases: most,
            cancels: most,
            requeues: most,
        }
    }
}

pub(crate) fn spend(budget: &mut u8) {
    if *budget != Budget::UNLIMITED {
        *budget -= 1;
    }
}

/// Everything that matters of a moment.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct World {
    pub(crate) jobs: Vec<Job>,
    pub(crate) rows: Vec<Row>,
    pub(crate) processes: Vec<Process>,
    /// The id of the next registration.
    pub(crate) next_id: WorkerId,
    /// Orders the times of the database. It stands still while every order of claims is tried anyway.
    pub(crate) clock: u16,
    pub(crate) budget: Budget,
    /// What the audit has found.
    pub(crate) wrongs: Wrongs,
}

impl World {
    /// So many processes, just started, and jobs that are due.
    pub(crate) fn new(jobs: Vec<Job>, processes: usize, budget: Budget) -> Self {
        let mut world = Self {
            jobs,
            rows: Vec::new(),
            processes: vec![Process::down(); processes],
            next_id: 1,
            clock: 0,
            budget,
            wrongs: Wrongs::default(),
        };
        for process in 0..processes {
            let id = world.register();
            world.processes[process].start(id);
        }
        world
    }

    pub(crate) fn is_registered(&self, id: WorkerId) -> bool {
        self.rows.iter().any(|row| row.id == id)
    }

    pub(crate) fn has_expired(&self, id: WorkerId) -> bool {
        self.rows.iter().any(|row| row.id == id && row.has_expired)
    }

    /// `register.sql`.
    pub(crate) fn register(&mut self) -> WorkerId {
        let id = self.next_id;
        self.next_id += 1;
        let has_expired = false;
        self.rows.push(Row { id, has_expired });
        id
    }

    /// The owners of running jobs that are not registered: the second answer of `lost.sql`.
    pub(crate) fn missing_owners(&self) -> Vec<WorkerId> {
        let owners = self.jobs.iter().filter_map(|job| job.claimed_by);
        let mut missing: Vec<WorkerId> = owners.filter(|&id| !self.is_registered(id)).collect();
        missing.sort_unstable();
        missing.dedup();
        missing
    }

    /// Is true when a pending or running job has this key.
    pub(crate) fn is_taken(&self, key: Option<u8>) -> bool {
        let mut jobs = self.jobs.iter();
        key.is_some() && jobs.any(|job| job.key == key && job.state.is_active())
    }

    /// Is true when every job has ended.
    pub(crate) fn is_over(&self) -> bool {
        self.jobs.iter().all(|job| !job.state.is_active())
    }
}

impl State {
    pub(crate) fn is_active(self) -> bool {
        matches!(self, Self::Pending | Self::Running)
    }
}
