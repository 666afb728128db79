//! What a run came to, in figures and violations.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use pgqueue_suite::chaos::evidence::Way;
use pgqueue_suite::proxy::Rewrites;

use crate::checker::Violation;
use crate::faults::Trouble;
use crate::history::History;
use crate::soak::Settings;

/// The figures of a run.
#[derive(Debug)]
pub(crate) struct Report {
    seed: u64,
    /// What runs it again.
    command: String,
    rewrites: Rewrites,
    pub(crate) took: Duration,
    pub(crate) drained_in: Duration,
    pub(crate) faults: usize,
    /// How many processes, connections or sessions the faults of each kind met.
    pub(crate) met: BTreeMap<&'static str, usize>,
    pub(crate) restarts: usize,
    pub(crate) promotions: usize,
    pub(crate) violations: Vec<Violation>,
    /// Where what the processes wrote is kept.
    pub(crate) evidence: Option<PathBuf>,
    pub(crate) jobs: usize,
    /// How many transactions of each way to enqueue have committed.
    pub(crate) commits: BTreeMap<Way, usize>,
    /// How often a fault has struck each statement of the workers, a commit, and the midst of an answer.
    pub(crate) strikes: BTreeMap<&'static str, usize>,
    /// How often somebody looked, a worker was to be woken, and an operator acted.
    pub(crate) counts: [usize; 3],
    moves: Vec<(&'static str, usize)>,
    /// How long after the end of a lease its jobs were taken, in milliseconds: half, 99 %, all of them.
    rescues: [i64; 3],
}

impl Report {
    /// Begins one, and says how to run the same again: a run that panics says no more.
    #[expect(clippy::print_stderr, reason = "it is shown when the test fails")]
    pub(crate) fn new(settings: &Settings, rewrites: Rewrites) -> Self {
        let (seed, minutes) = (settings.seed, settings.length.as_secs() / 60);
        let thread = std::thread::current();
        let test = thread.name().unwrap_or_default();
        let profile = if cfg!(debug_assertions) {
            ""
        } else {
            " --release"
        };
        let command = format!(
            "CHAOS_SEED={seed} CHAOS_MINUTES={minutes} cargo test{profile} -p pgqueue-suite --all-features --test chaos -- --include-ignored --nocapture --exact {test}"
        );
        eprintln!("{command}");
        Self {
            seed,
            command,
            rewrites,
            took: Duration::ZERO,
            drained_in: Duration::ZERO,
            faults: 0,
            met: BTreeMap::new(),
            restarts: 0,
            promotions: 0,
            violations: Vec::new(),
            evidence: None,
            jobs: 0,
            commits: BTreeMap::new(),
            strikes: BTreeMap::new(),
            counts: [0; 3],
            moves: Vec::new(),
            rescues: [0; 3],
        }
    }

    /// Tells how many processes were killed.
    pub(crate) fn kills(&self) -> usize {
        self.met(Trouble::KillWorker) + self.met(Trouble::KillProducer)
    }

    /// Tells how many processes, connections or sessions faults of this kind have met.
    pub(crate) fn met(&self, kind: Trouble) -> usize {
        self.met.get(kind.name()).copied().unwrap_or_default()
    }

    /// Tells how many statements were broken.
    pub(crate) fn rewritten(&self) -> usize {
        self.rewrites.made()
    }

    /// Takes the figures of a history.
    pub(crate) fn take(&mut self, history: &History) {
        let count = |before, after| history.count(|change| change.is(before, after));
        self.jobs = history.jobs.len();
        self.commits.clone_from(&history.commits);
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
            faults,
            restarts,
            promotions,
            ..
        } = self;
        let kills = self.kills();
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
        let [looks, probes, deeds] = self.counts;
        write!(
            f,
            "; {looks} looks, {probes} probes, {deeds} deeds of operators; struck"
        )?;
        for (statement, times) in &self.strikes {
            let words = statement.trim_start_matches("-- ").split(' ').take(3);
            let words: Vec<_> = words.collect();
            write!(f, " {times} \"{}\"", words.join(" "))?;
        }
        write!(f, "; met")?;
        for (kind, times) in &self.met {
            write!(f, " {times} {kind},")?;
        }
        write!(f, " commits")?;
        for (way, times) in &self.commits {
            write!(f, " {times} {way},")?;
        }
        write!(f, "; {} violations", self.violations.len())?;
        for violation in self.violations.iter().take(20) {
            write!(f, "\n  {violation}")?;
        }
        if !self.violations.is_empty() {
            write!(f, "\nrun it again: {}", self.command)?;
        }
        if let Some(evidence) = &self.evidence {
            write!(f, "\nwhat the processes wrote is in {}", evidence.display())?;
        }
        Ok(())
    }
}
