//! What a worker's process believes: who it is, which runs it has, what it has asked the database and not heard back.

use super::WorkerId;
use super::job::Ending;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Mode {
    Up,
    /// It stands still: a stopped machine, a debugger, a pause of the system.
    Paused,
    /// It claims no more, and gives back what it has.
    Stopping,
    Down,
}

/// Where a run is. The process knows of it until its end is stored, or known to be of no use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Stage {
    Runs,
    /// `complete_in` has answered in the handler's transaction, which is open.
    Effect,
    /// Its end is to be stored, or was sent and not answered.
    Ended(Ending),
    /// Its end did not come back: what the row is now has to be read.
    Missed(Ending),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Run {
    pub(crate) job: u8,
    pub(crate) token: u8,
    pub(crate) attempt: i8,
    /// Who the process was when it claimed.
    pub(crate) worker: WorkerId,
    pub(crate) stage: Stage,
}

/// A claim that was sent.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Claim {
    pub(crate) worker: WorkerId,
    pub(crate) batch: u8,
    /// What its snapshot says: is the worker registered?
    pub(crate) is_registered: bool,
    /// The process waits no more for the answer, or is gone. The server may still do it.
    pub(crate) is_given_up: bool,
    /// The jobs of its snapshot. Only for claims that do not look again.
    pub(crate) seen: Vec<u8>,
    /// What it took; the answer is on its way.
    pub(crate) taken: Option<Vec<Run>>,
}

/// What a process knew before it asked for what it does not know.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Reconcile {
    pub(crate) worker: WorkerId,
    pub(crate) ended_batch: u8,
    pub(crate) known: Vec<u8>,
}

/// The first step of a rescue.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Pinned {
    /// Owners found missing.
    pub(crate) owners: Vec<WorkerId>,
    /// The registered workers and the stranded jobs of its snapshot. Only for a rescue that does not pin.
    pub(crate) seen: Vec<WorkerId>,
    pub(crate) jobs: Vec<u8>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Process {
    pub(crate) mode: Mode,
    /// Sorted.
    pub(crate) runs: Vec<Run>,
    pub(crate) claim: Option<Claim>,
    /// The number of the newest claim, and of the newest one that has ended.
    pub(crate) batch: u8,
    pub(crate) ended_batch: u8,
    pub(crate) reconcile: Option<Reconcile>,
    pub(crate) pinned: Option<Pinned>,
    /// The id it goes by; 0 while it is down.
    pub(crate) id: WorkerId,
}

impl Process {
    pub(crate) fn down() -> Self {
        Self {
            mode: Mode::Down,
            runs: Vec::new(),
            claim: None,
            batch: 0,
            ended_batch: 0,
            reconcile: None,
            pinned: None,
            id: 0,
        }
    }

    pub(crate) fn start(&mut self, id: WorkerId) {
        let mode = Mode::Up;
        *self = Self {
            mode,
            id,
            ..Self::down()
        };
    }

    /// All that it knew is gone. A claim that was sent may still arrive.
    pub(crate) fn crash(&mut self) {
        let sent = self.claim.take().filter(|claim| claim.taken.is_none());
        *self = Self::down();
        self.claim = sent.map(|claim| Claim {
            is_given_up: true,
            ..claim
        });
    }

    pub(crate) fn is_awake(&self) -> bool {
        matches!(self.mode, Mode::Up | Mode::Stopping)
    }

    pub(crate) fn is_up(&self) -> bool {
        self.mode == Mode::Up
    }

    pub(crate) fn free_slots(&self, slots: usize) -> usize {
        slots.saturating_sub(self.runs.len())
    }

    pub(crate) fn known(&self) -> Vec<u8> {
        let mut known: Vec<u8> = self.runs.iter().map(|run| run.job).collect();
        known.dedup();
        known
    }

    /// Takes over what a claim answered.
    pub(crate) fn take_over(&mut self, taken: Vec<Run>) {
        self.runs.extend(taken);
        self.runs.sort_unstable();
    }

    pub(crate) fn end_claim(&mut self) {
        if let Some(claim) = self.claim.take() {
            self.ended_batch = claim.batch;
        }
    }
}
