//! The worker and producer processes of a run, each behind a proxy of its own. One that ends is started again as another.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use fastrand::Rng;
use pgqueue_suite::chaos::{Menu, Producer, ROLE, Role, Worker};
use pgqueue_suite::proxy::statements::{AN_ANSWER, COMMIT, OF_WORKERS};
use pgqueue_suite::proxy::{End, Proxy, Rewrites};
use rustix::process::{Pid, Signal, kill_process};

use crate::cluster::Cluster;

/// How many jobs may wait or run before producers rest: enough that no worker is idle, few enough that each is soon met, and
/// that all are soon through where a run that does not end is what is looked for.
fn backlog(menu: Menu) -> i64 {
    match menu {
        Menu::All => 1500,
        Menu::Harmless => 300,
        Menu::Long => 24,
    }
}

/// How long a producer may take to end.
const PATIENCE: Duration = Duration::from_secs(15);

/// What a process is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Worker,
    Producer,
    /// A worker that must be woken, as it hardly ever looks by itself. It has a database of its own, where no other's doings
    /// wake it, and no fault is for it alone, so that it is there to be woken.
    Probe,
}

impl Kind {
    /// What its evidence begins with.
    fn name(self) -> &'static str {
        match self {
            Self::Worker => "worker",
            Self::Producer => "producer",
            Self::Probe => "probe",
        }
    }
}

/// A place for one process after the other.
pub(crate) struct Berth {
    pub(crate) proxy: Proxy,
    child: Option<Child>,
    kind: Kind,
    place: usize,
    /// How many processes it has had.
    spawned: i64,
}

/// All processes.
pub(crate) struct Fleet {
    pub(crate) berths: Vec<Berth>,
    /// How many processes have panicked by themselves.
    pub(crate) panicked: usize,
    /// The processes that were told to end: they give back what they run.
    pub(crate) told_to_end: Vec<Pid>,
    folder: PathBuf,
    rng: Rng,
    produces: bool,
    menu: Menu,
}

impl Fleet {
    /// Makes berths for six workers, four producers and the probe.
    pub(crate) async fn new(
        cluster: &Cluster,
        menu: Menu,
        folder: &Path,
        seed: u64,
        rewrites: &Rewrites,
    ) -> Self {
        let kinds = [&[Kind::Worker; 6][..], &[Kind::Producer; 4], &[Kind::Probe]].concat();
        let mut berths = Vec::new();
        for (place, kind) in kinds.into_iter().enumerate() {
            let url = match kind {
                Kind::Probe => cluster.probe_url(),
                Kind::Worker | Kind::Producer => cluster.url(),
            };
            berths.push(Berth {
                proxy: Proxy::start_rewriting(&url, rewrites.clone()).await,
                child: None,
                kind,
                place,
                spawned: 0,
            });
        }
        Self {
            berths,
            panicked: 0,
            told_to_end: Vec::new(),
            folder: folder.to_owned(),
            rng: Rng::with_seed(seed),
            produces: true,
            menu,
        }
    }

    /// Gives a worker at random.
    pub(crate) fn any_worker(&mut self) -> &mut Berth {
        self.any(&[Kind::Worker])
    }

    /// Gives a producer at random.
    pub(crate) fn any_producer(&mut self) -> &mut Berth {
        self.any(&[Kind::Producer])
    }

    /// Gives a worker or a producer at random.
    pub(crate) fn any_berth(&mut self) -> &mut Berth {
        self.any(&[Kind::Worker, Kind::Producer])
    }

    fn any(&mut self, kinds: &[Kind]) -> &mut Berth {
        let fit = self
            .berths
            .iter_mut()
            .filter(|berth| kinds.contains(&berth.kind));
        let mut fit: Vec<_> = fit.collect();
        let place = self.rng.usize(..fit.len());
        fit.swap_remove(place)
    }

    /// Starts a process wherever there is none, or it has ended, unless it is of a kind that has ended for good.
    pub(crate) fn fill(&mut self) {
        for berth in &mut self.berths {
            let is_wanted = self.produces || berth.kind != Kind::Producer;
            if is_wanted && berth.is_vacant() {
                self.panicked += usize::from(berth.has_panicked());
                let seed = self.rng.u64(..);
                berth.start(&self.folder, seed, self.menu);
            }
        }
    }

    /// Tells how often a fault has struck each statement of the workers, a commit, and the midst of an answer.
    pub(crate) fn struck(&self) -> BTreeMap<&'static str, usize> {
        let others = [COMMIT, AN_ANSWER];
        let statements = OF_WORKERS.into_iter().chain(others);
        let mut struck: BTreeMap<_, _> = statements.map(|statement| (statement, 0)).collect();
        let berths = self.berths.iter();
        for (statement, times) in berths.flat_map(|berth| berth.proxy.struck_by_statement()) {
            *struck.entry(statement).or_default() += times;
        }
        struck
    }

    /// Has the producers end, and waits for them: what they have begun is through. One that still waits for an answer is killed.
    pub(crate) async fn end_producers(&mut self) {
        self.produces = false;
        let producers = self.berths.iter_mut();
        let mut producers: Vec<_> = producers
            .filter(|berth| berth.kind == Kind::Producer)
            .collect();
        for berth in &mut producers {
            berth.proxy.end_connections(End::Reset);
            drop(berth.child.as_mut().and_then(|child| child.stdin.take()));
        }
        let give_up = Instant::now() + PATIENCE;
        while producers.iter_mut().any(|berth| !berth.is_vacant()) && Instant::now() < give_up {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        for berth in producers {
            berth.kill();
        }
    }
}

impl Berth {
    fn is_vacant(&mut self) -> bool {
        let Some(child) = &mut self.child else {
            return true;
        };
        child.try_wait().unwrap().is_some()
    }

    /// Is true when the process has ended by a panic that nobody caught.
    fn has_panicked(&mut self) -> bool {
        let ended = self.child.as_mut().map(|child| child.try_wait().unwrap());
        ended.flatten().and_then(|status| status.code()) == Some(101)
    }

    fn start(&mut self, folder: &Path, seed: u64, menu: Menu) {
        self.spawned += 1;
        let (place, spawned) = (self.place, self.spawned);
        let url = self.proxy.url().to_owned();
        let evidence = folder.join(format!("{}-{place}-{spawned}", self.kind.name()));
        let role = if self.kind != Kind::Producer {
            // Odd ones claim ahead of their slots.
            let prefetches = place % 2 == 1;
            let manner = if prefetches { "ahead" } else { "strict" };
            Role::Worker(Worker {
                url,
                name: format!("{manner} {place}"),
                prefetches,
                poll_interval: Duration::from_secs(if self.kind == Kind::Probe { 600 } else { 1 }),
                evidence,
            })
        } else {
            let place_number = i64::try_from(place).unwrap();
            Role::Producer(Producer {
                url,
                number: spawned * 100 + place_number,
                seed,
                asynchronous: place % 2 == 1,
                menu,
                backlog: backlog(menu),
                evidence,
            })
        };
        let child = Command::new(env!("CARGO_BIN_EXE_chaos-process"))
            .env(ROLE, serde_json::to_string(&role).unwrap())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(said())
            .spawn();
        self.child = Some(child.unwrap());
    }

    /// Kills the process, which is what `kill -9` does; false: it had ended by itself.
    pub(crate) fn kill(&mut self) -> bool {
        let lives = !self.is_vacant();
        if let Some(mut child) = self.child.take() {
            // Ended by itself meanwhile: fine.
            let _gone = child.kill();
            child.wait().unwrap();
        }
        lives
    }

    /// Gives what a later signal is to be sent to: this process, not the next one here.
    pub(crate) fn process(&mut self) -> Option<Pid> {
        if self.is_vacant() {
            return None;
        }
        let child = self.child.as_ref()?;
        Pid::from_raw(child.id().try_into().unwrap())
    }
}

/// Where processes say what they do: nowhere, unless somebody has asked for their logs.
fn said() -> Stdio {
    match std::env::var_os("RUST_LOG") {
        Some(_) => Stdio::inherit(),
        None => Stdio::null(),
    }
}

/// Sends a signal; nothing if the process has gone: its number is not given to another within seconds.
pub(crate) fn send(process: Pid, signal: Signal) {
    let _gone = kill_process(process, signal);
}

impl Drop for Berth {
    fn drop(&mut self) {
        self.kill();
    }
}
