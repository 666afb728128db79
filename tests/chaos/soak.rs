//! One run: processes, faults and operators for a time, then calm, then the verdict.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fastrand::Rng;
use pgqueue_suite::chaos::evidence::Way;
use pgqueue_suite::proxy::Weather;
use tokio::task::{JoinHandle, JoinSet};

use crate::bugs::Bug;
use crate::checker::{self, Moment, Rule, Violation};
use crate::cluster::Cluster;
use crate::faults::{self, Mix, Trouble};
use crate::fleet::Fleet;
use crate::history::History;
use crate::operators;
use crate::report::Report;
use crate::watch::{self, Sightings};

/// What a run is started with.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) seed: u64,
    /// How long faults come, at least.
    pub(crate) length: Duration,
    pub(crate) least: Least,
    /// How often PostgreSQL goes down.
    pub(crate) outages_every: Duration,
    /// How often it is restarted before a standby takes over.
    pub(crate) restarts_to_promotion: usize,
    pub(crate) bug: Option<Bug>,
}

/// What must have happened before a run ends, on however slow a machine.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Least {
    /// So many jobs were enqueued.
    pub(crate) jobs: i64,
    /// So many processes were killed.
    pub(crate) kills: usize,
    /// PostgreSQL was restarted so often.
    pub(crate) restarts: usize,
    /// A standby has taken over so often.
    pub(crate) promotions: usize,
    /// Each kind of fault has met somebody so often.
    pub(crate) each: usize,
    /// A fault has struck each statement of the workers, a commit, and the midst of an answer so often.
    pub(crate) strikes: usize,
    /// Transactions of each way to enqueue have committed so often.
    pub(crate) commits: usize,
}

/// A run that takes so many times its length, and this, has come to a stop.
const MOST_LENGTHS: u32 = 3;
const MOST_BESIDES: Duration = Duration::from_secs(120);
/// How long all jobs may take to end once all is calm: a worker waits 35 s for an answer that never comes.
const DRAIN_LIMIT: Duration = Duration::from_secs(120);
/// With a bug in it, a run that does not drain need not be given so much.
const SHORT_DRAIN_LIMIT: Duration = Duration::from_secs(15);
/// How often a run with a bug in it is judged.
const JUDGE_EVERY: Duration = Duration::from_secs(3);

/// How many jobs were enqueued.
const JOBS: &str = "SELECT count(*) FROM changes WHERE before_state IS NULL";

/// A run that goes on.
struct Run {
    settings: Settings,
    mix: Mix,
    cluster: Cluster,
    fleet: Fleet,
    sightings: Arc<Sightings>,
    folder: Folder,
    rng: Rng,
    /// A standby that is being made.
    standby: Option<JoinHandle<()>>,
    report: Report,
    started: Instant,
}

/// Where the processes write; gone with the run, unless there is something to look at.
struct Folder {
    path: PathBuf,
    is_kept: bool,
}

impl Drop for Folder {
    fn drop(&mut self) {
        if !self.is_kept {
            // Left behind if it cannot be removed: a temporary folder.
            let _left = std::fs::remove_dir_all(&self.path);
        }
    }
}

/// Runs to the end, or to the first violation when there is a bug to be found.
pub(crate) async fn run(settings: Settings) -> Report {
    let mut run = Run::start(settings).await;
    let mut others = JoinSet::new();
    let (cluster, sightings) = (&run.cluster, &run.sightings);
    let seed = run.rng.u64(..);
    others.spawn(operators::act(cluster.clone(), seed, Arc::clone(sightings)));
    others.spawn(watch::watch(cluster.clone(), Arc::clone(sightings)));
    others.spawn(watch::probe(cluster.clone(), Arc::clone(sightings)));
    let mut violations = run.make_trouble().await;
    others.abort_all();
    while let Some(ended) = others.join_next().await {
        let is_ours = ended.is_err_and(|error| error.is_cancelled());
        assert!(is_ours, "a task of the run has failed");
    }
    if violations.is_empty() {
        violations = run.calm_down().await;
    }
    if run.settings.bug.is_none() && !violations.is_empty() {
        run.folder.is_kept = true;
        run.cluster.copy_evidence(&run.folder.path).await;
        run.report.evidence = Some(run.folder.path.clone());
    }
    run.report.violations = violations;
    run.report.took = run.started.elapsed();
    run.report
}

impl Run {
    async fn start(settings: Settings) -> Self {
        let cluster = tokio::task::block_in_place(Cluster::start);
        let mut rng = Rng::with_seed(settings.seed);
        let mix = settings.bug.as_ref().map_or(Mix::Storm, |bug| bug.mix);
        let rewrites = settings.bug.as_ref().map(Bug::rewrites).unwrap_or_default();
        match &settings.bug {
            None => cluster.add_standby().await,
            Some(bug) if !bug.sql.is_empty() => {
                tokio::task::block_in_place(|| cluster.execute(bug.sql));
            }
            Some(_) => {}
        }
        let name = format!(
            "pgqueue-chaos-{}-{:x}",
            std::process::id(),
            Rng::new().u64(..)
        );
        let folder = Folder {
            path: std::env::temp_dir().join(name),
            is_kept: false,
        };
        std::fs::create_dir_all(&folder.path).unwrap();
        let fleet = Fleet::new(&cluster, mix.menu(), &folder.path, rng.u64(..), &rewrites).await;
        Self {
            report: Report::new(&settings, rewrites),
            settings,
            mix,
            cluster,
            fleet,
            sightings: Arc::default(),
            folder,
            rng,
            standby: None,
            started: Instant::now(),
        }
    }

    /// Has faults come until the run is long enough, or something is wrong.
    async fn make_trouble(&mut self) -> Vec<Violation> {
        let (mut outage, mut judged) = (Instant::now(), Instant::now());
        self.fleet.fill();
        while !self.is_long_enough().await {
            if self.settings.bug.is_none() {
                self.check_goes_on();
                if self.sightings.has_some() {
                    break;
                }
            }
            let pace = u64::try_from(self.mix.pace().as_millis()).unwrap();
            tokio::time::sleep(Duration::from_millis(self.rng.u64(0..=pace))).await;
            let trouble = Trouble::next(&mut self.rng, self.mix);
            self.report.faults += 1;
            let met = trouble.strike(&mut self.fleet, &self.cluster).await;
            *self.report.met.entry(trouble.name()).or_default() += met;
            // What a standby is copied from must not go down meanwhile.
            let is_copied = self
                .standby
                .as_ref()
                .is_some_and(|copy| !copy.is_finished());
            if outage.elapsed() > self.settings.outages_every && !is_copied {
                self.go_down().await;
                outage = Instant::now();
            }
            self.fleet.fill();
            if self.settings.bug.is_some() && judged.elapsed() > JUDGE_EVERY {
                let violations = self.judge(Moment::Underway).await;
                if !violations.is_empty() {
                    return violations;
                }
                judged = Instant::now();
            }
        }
        Vec::new()
    }

    async fn is_long_enough(&self) -> bool {
        let (report, least) = (&self.report, &self.settings.least);
        self.started.elapsed() >= self.settings.length
            && report.kills() >= least.kills
            && Trouble::KINDS
                .iter()
                .all(|kind| report.met(*kind) >= least.each)
            && report.restarts >= least.restarts
            && report.promotions >= least.promotions
            && self
                .fleet
                .struck()
                .values()
                .all(|struck| *struck >= least.strikes)
            && (least.jobs == 0 || self.number(JOBS).await >= Some(least.jobs))
    }

    /// Notes it if the run has come to a stop.
    fn check_goes_on(&self) {
        let most = self.settings.length * MOST_LENGTHS + MOST_BESIDES;
        if self.started.elapsed() > most {
            let (report, struck) = (&self.report, self.fleet.struck());
            let what = format!(
                "less than {:?} after {most:?}: {report}, {struck:?}",
                self.settings.least
            );
            self.sightings.add(Rule::GoesOn, what);
        }
    }

    /// Takes PostgreSQL down and up again: another server when it is time for one, and there is a standby.
    async fn go_down(&mut self) {
        self.await_standby().await;
        let due = (self.report.promotions + 1) * self.settings.restarts_to_promotion;
        let fails_over = self.report.restarts >= due;
        if fails_over && self.cluster.fail_over().await {
            self.report.promotions += 1;
            let url = self.cluster.url();
            self.fleet
                .berths
                .iter()
                .for_each(|berth| berth.proxy.lead_to(&url));
            // Beside the run: it copies all that there is.
            let cluster = self.cluster.clone();
            self.standby = Some(tokio::spawn(async move { cluster.add_standby().await }));
        } else {
            let shutdown = faults::shutdown(&mut self.rng);
            self.cluster.restart(shutdown).await;
            self.report.restarts += 1;
        }
    }

    async fn await_standby(&mut self) {
        if let Some(standby) = self.standby.take() {
            standby.await.unwrap();
        }
    }

    /// Ends all faults, waits until no job waits or runs, and judges.
    async fn calm_down(&mut self) -> Vec<Violation> {
        for berth in &self.fleet.berths {
            berth.proxy.weather().send_replace(Weather::Clear);
            berth.proxy.disarm();
        }
        self.fleet.end_producers().await;
        self.await_standby().await;
        self.cluster.wait_for_standby().await;
        operators::resume_all(&self.cluster).await;
        let has_bug = self.settings.bug.is_some();
        let limit = if has_bug {
            SHORT_DRAIN_LIMIT
        } else {
            DRAIN_LIMIT
        };
        let (calm, mut left) = (Instant::now(), None);
        while left != Some(0) && calm.elapsed() < limit {
            self.fleet.fill();
            tokio::time::sleep(Duration::from_millis(200)).await;
            let open = "SELECT count(*) FROM pgqueue_jobs WHERE state IN ('pending', 'running')";
            left = self.number(open).await;
        }
        self.report.drained_in = calm.elapsed();
        let mut violations = self.judge(Moment::Drained).await;
        if left != Some(0) {
            let what = format!("{left:?} jobs are left after {limit:?}");
            violations.push(Violation {
                rule: Rule::Drains,
                what,
            });
        }
        violations.extend(self.stand_still().into_iter().map(|what| Violation {
            rule: Rule::GoesOn,
            what,
        }));
        violations
    }

    /// Tells which part of the run has done nothing, or less than it had to.
    fn stand_still(&self) -> Vec<String> {
        let mut said = Vec::new();
        let [looks, probes, deeds] = self.sightings.counts();
        if self.settings.bug.is_none() && (looks == 0 || probes == 0 || deeds == 0) {
            said.push(format!(
                "{looks} looks, {probes} probes, {deeds} deeds of operators"
            ));
        }
        let panicked = self.fleet.panicked;
        if panicked > 0 {
            said.push(format!("{panicked} processes have panicked"));
        }
        let least = self.settings.least.commits;
        for way in Way::ALL {
            let commits = self.report.commits.get(&way).copied().unwrap_or_default();
            if commits < least {
                said.push(format!("{commits} commits {way}, of at least {least}"));
            }
        }
        said
    }

    async fn judge(&mut self, moment: Moment) -> Vec<Violation> {
        let mut violations = self.sightings.take();
        let mut client = self.cluster.connect().await.expect("PostgreSQL runs");
        let mut history = History::read(&self.folder.path, &mut client).await;
        let told = self.fleet.told_to_end.iter();
        history.told_to_end = told
            .map(|process| i64::from(process.as_raw_pid()))
            .collect();
        violations.extend(checker::check(&history, moment));
        self.report.take(&history);
        self.report.strikes = self.fleet.struck();
        self.report.counts = self.sightings.counts();
        violations
    }

    async fn number(&self, query: &str) -> Option<i64> {
        let client = self.cluster.connect().await?;
        Some(client.query_one(query, &[]).await.ok()?.get(0))
    }
}
