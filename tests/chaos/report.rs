//! What a run came to, in figures and violations.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use pgqueue_suite::proxy::Rewrites;

use crate::checker::Violation;
use crate::faults::Trouble;
use crate::history::History;

/// The figures of a run.
#[derive(Debug)]
pub(crate) struct Report {
    seed: u64,
    /// The test that runs it.
    test: String,
    rewrites: Rewrites,
    pub(crate) took: Duration,
    pub(crate) drained_in: Duration,
    pub(crate) kills: usize,
    pub(crate) faults: usize,
    pub(crate) restarts: usize,
    pub(crate) promotions: usize,
    pub(crate) violations: Vec<Violation>,
    /// Where what the processes wrote is kept.
    pub(crate) evidence: Option<PathBuf>,
    pub(crate) jobs: usize,
    moves: Vec<(&'static str, usize)>,
    /// How long after the end of a lease its jobs were taken, in milliseconds: half, 99 %, all of them.
    rescues: [i64; 3],
}

impl Report {
    pub(crate) fn new(seed: u64, rewrites: Rewrites) -> Self {
        Self {
            seed,
            test: std::thread::current().name().unwrap_or_default().to_owned(),
            rewrites,
            took: Duration::ZERO,
            drained_in: Duration::ZERO,
            kills: 0,
            faults: 0,
            restarts: 0,
            promotions: 0,
            violations: Vec::new(),
            evidence: None,
            jobs: 0,
            moves: Vec::new(),
            rescues: [0; 3],
        }
    }

    /// Counts a fault.
    pub(crate) fn count(&mut self, trouble: Trouble) {
        self.faults += 1;
        self.kills += usize::from(trouble.is_kill());
    }

    /// Tells how many statements were broken.
    pub(crate) fn rewritten(&self) -> usize {
        self.rewrites.made()
    }

    /// Takes the figures of a history.
    pub(crate) fn take(&mut self, history: &History) {
        let count = |before, after| history.count(|change| change.is(before, after));
        self.jobs = history.jobs.len();
        self.moves = vec![
            ("claims", count("pending", "running")),
            ("completed", count("running", "completed")),
            ("retried or released", count("running", "pending")),
            ("dead", count("running", "dead")),
            (
                "cancelled",
                count("running", "cancelled") + count("pending", "cancelled"),
            ),
            (
                "requeued",
                count("dead", "pending") + count("cancelled", "pending"),
            ),
            ("effects", history.effects.values().map(Vec::len).sum()),
            (
                "lost",
                history.count(|change| change.failure.as_deref() == Some("lost")),
            ),
            ("rolled back", history.rolled_back()),
        ];
        let mut waits = history.rescue_waits();
        waits.sort_unstable();
        let at =
            |part: usize| waits.get((waits.len() * part / 100).min(waits.len().saturating_sub(1)));
        self.rescues = [50, 99, 100].map(|part| at(part).map_or(0, |wait| wait / 1000));
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            seed,
            jobs,
            kills,
            faults,
            restarts,
            promotions,
            ..
        } = self;
        let (took, drained) = (self.took.as_secs(), self.drained_in.as_secs());
        write!(
            f,
            "seed {seed}: {took} s, drained in {drained} s, {jobs} jobs, {faults} faults, {kills} kills, {restarts} restarts, {promotions} promotions"
        )?;
        for (name, count) in &self.moves {
            write!(f, ", {count} {name}")?;
        }
        let [half, most, all] = self.rescues;
        write!(
            f,
            "; jobs were taken {half} ms after the lease (p50), {most} (p99), {all} (max)"
        )?;
        write!(f, "; {} violations", self.violations.len())?;
        for violation in self.violations.iter().take(20) {
            write!(f, "\n  {violation}")?;
        }
        if !self.violations.is_empty() {
            let test = &self.test;
            write!(
                f,
                "\nrun it again: CHAOS_SEED={seed} cargo test --all-features --test chaos -- --include-ignored --nocapture --exact {test}"
            )?;
        }
        if let Some(evidence) = &self.evidence {
            write!(f, "\nwhat the processes wrote is in {}", evidence.display())?;
        }
        Ok(())
    }
}
