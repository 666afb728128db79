//! What is measured, and the figures that each workload gives.

/// A workload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Workload {
    /// A backlog, enqueued before, is worked off.
    Drain,
    /// The same while a transaction holds a snapshot from before the backlog was enqueued.
    HeldSnapshot,
    /// From the call that enqueues a job to the start of its handler, in an idle worker.
    Latency,
    /// One job a call on one connection, nobody works.
    Single,
    /// One job a call on each of eight connections, nobody works.
    SingleOnEight,
    /// The backlog is enqueued in one go, nobody works.
    Bulk,
    /// Four connections enqueue one job a call while a worker runs them.
    Mixed,
}

/// A figure of a workload.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Figure {
    /// Its name in JSON.
    pub(crate) name: &'static str,
    /// The head of its column in the table.
    pub(crate) head: &'static str,
    /// Its unit.
    pub(crate) unit: &'static str,
}

const fn figure(name: &'static str, head: &'static str, unit: &'static str) -> Figure {
    Figure { name, head, unit }
}

impl Workload {
    /// All, in the order of the table.
    pub(crate) const ALL: [Self; 7] = [
        Self::Drain,
        Self::HeldSnapshot,
        Self::Latency,
        Self::Single,
        Self::SingleOnEight,
        Self::Bulk,
        Self::Mixed,
    ];

    /// Gives what it measures.
    pub(crate) fn figures(self) -> &'static [Figure] {
        const DRAIN: [Figure; 2] = [
            figure("drain", "drain", "jobs/s"),
            figure("memory in the drain", "memory", "MB"),
        ];
        const HELD: [Figure; 1] = [figure("drain under a held snapshot", "held", "jobs/s")];
        const LATENCY: [Figure; 2] = [
            figure("wake-up, p50", "p50", "ms"),
            figure("wake-up, p99", "p99", "ms"),
        ];
        const SINGLE: [Figure; 1] = [figure("enqueue, 1 connection", "enqueue 1", "jobs/s")];
        const EIGHT: [Figure; 1] = [figure("enqueue, 8 connections", "enqueue 8", "jobs/s")];
        const BULK: [Figure; 1] = [figure("bulk enqueue", "bulk", "jobs/s")];
        const MIXED: [Figure; 1] = [figure("4 producers and a worker", "mixed", "jobs/s")];
        match self {
            Self::Drain => &DRAIN,
            Self::HeldSnapshot => &HELD,
            Self::Latency => &LATENCY,
            Self::Single => &SINGLE,
            Self::SingleOnEight => &EIGHT,
            Self::Bulk => &BULK,
            Self::Mixed => &MIXED,
        }
    }

    /// Is true for one that begins with a backlog.
    pub(crate) fn has_backlog(self) -> bool {
        matches!(self, Self::Drain | Self::HeldSnapshot)
    }
}
