//! What goes wrong in a run, decided by its seed: which fault, on whom, for how long, and when the next one comes.

use std::time::Duration;

use fastrand::Rng;
use local_postgres::Shutdown;
use pgqueue_suite::chaos::{LEASE, Menu};
use pgqueue_suite::proxy::statements::{CLAIM, COMMIT, OF_WORKERS};
use pgqueue_suite::proxy::{End, Fault, Proxy, Weather};
use rustix::process::Signal;

use crate::cluster::Cluster;
use crate::fleet::{Fleet, send};

/// One fault.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Trouble {
    KillWorker,
    KillProducer,
    /// A process stops for so long, and goes on.
    Stop(Duration),
    /// A worker stops for so long, and goes on.
    StopWorker(Duration),
    /// A worker is told to end; and told again.
    Terminate {
        twice: bool,
    },
    /// A process's network is so for a while.
    Weather(Weather, Duration),
    End(End),
    /// The next such statement of a worker is not answered, or does not get through.
    Strike(&'static str, Fault),
    /// The next commit of a process is not answered: of a producer, or of a handler that completes its job in it.
    LoseCommit,
    /// A worker's connection ends in the midst of an answer, after so many bytes.
    CutAfter(usize),
    /// PostgreSQL ends sessions: one in so many.
    TerminateSessions(i64),
}

/// Which faults come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mix {
    /// All.
    Storm,
    /// Workers are stopped for longer than their lease, and go on; their jobs are dead, requeued and run meanwhile.
    Zombies,
    /// Answers to claims are lost. Nobody is killed.
    Losses,
}

impl Mix {
    /// Gives the longest pause between two faults.
    pub(crate) fn pace(self) -> Duration {
        Duration::from_millis(match self {
            Self::Storm => 800,
            Self::Losses => 400,
            // Most processes must be well, to take what the stopped ones have and to run it.
            Self::Zombies => 3000,
        })
    }

    /// Gives the jobs that go with it.
    pub(crate) fn menu(self) -> Menu {
        match self {
            Self::Storm => Menu::All,
            Self::Zombies => Menu::Long,
            Self::Losses => Menu::Harmless,
        }
    }
}

impl Trouble {
    /// One of each kind that shows at once whom it has met; proxies count the others when they strike.
    pub(crate) const KINDS: [Self; 12] = [
        Self::KillWorker,
        Self::KillProducer,
        Self::Stop(Duration::ZERO),
        Self::Terminate { twice: false },
        Self::Terminate { twice: true },
        Self::Weather(Weather::Slow(Duration::ZERO), Duration::ZERO),
        Self::Weather(Weather::Throttled(0), Duration::ZERO),
        Self::Weather(Weather::DeafServer, Duration::ZERO),
        Self::Weather(Weather::DeafClient, Duration::ZERO),
        Self::End(End::Reset),
        Self::End(End::HalfOpen),
        Self::TerminateSessions(1),
    ];

    /// Decides on the next one.
    pub(crate) fn next(rng: &mut Rng, mix: Mix) -> Self {
        match mix {
            Mix::Storm => Self::any(rng),
            Mix::Zombies => Self::StopWorker(LEASE.mul_f64(1.2 + 0.8 * rng.f64())),
            Mix::Losses => Self::Strike(CLAIM, Fault::LoseReply),
        }
    }

    fn any(rng: &mut Rng) -> Self {
        let ms = |rng: &mut Rng, most| Duration::from_millis(rng.u64(50..most));
        let lease = u64::try_from(LEASE.as_millis()).unwrap();
        match rng.u8(..100) {
            0..42 => Self::KillWorker,
            42..45 => Self::KillProducer,
            45..55 => Self::Stop(ms(rng, 2 * lease)),
            55..64 => Self::Terminate { twice: rng.bool() },
            64..74 => Self::Weather(weather(rng), ms(rng, 2 * lease)),
            74..77 => Self::End(End::Reset),
            77..79 => Self::End(End::HalfOpen),
            79..91 => {
                let statement = OF_WORKERS[rng.usize(..OF_WORKERS.len())];
                let faults = [
                    Fault::LoseReply,
                    Fault::LoseEnd,
                    Fault::Terminate,
                    Fault::Swallow,
                ];
                Self::Strike(statement, faults[rng.usize(..faults.len())])
            }
            91..94 => Self::LoseCommit,
            94..97 => Self::CutAfter(rng.usize(1..20_000)),
            _ => Self::TerminateSessions(rng.i64(1..=4)),
        }
    }

    /// Does it, and tells how many processes, connections or sessions it met; none: there was nobody. What lasts goes on by itself, and
    /// ends by itself.
    pub(crate) async fn strike(self, fleet: &mut Fleet, cluster: &Cluster) -> usize {
        match self {
            Self::KillWorker => usize::from(fleet.any_worker().kill()),
            Self::KillProducer => usize::from(fleet.any_producer().kill()),
            Self::Stop(time) => signals(
                fleet.any_berth().process(),
                [Signal::STOP, Signal::CONT],
                time,
            ),
            Self::StopWorker(time) => signals(
                fleet.any_worker().process(),
                [Signal::STOP, Signal::CONT],
                time,
            ),
            Self::Terminate { twice } => {
                let second = if twice { Signal::TERM } else { Signal::CONT };
                let time = Duration::from_millis(200);
                let process = fleet.any_worker().process();
                fleet.told_to_end.extend(process);
                signals(process, [Signal::TERM, second], time)
            }
            Self::Weather(weather, time) => {
                let proxy = &fleet.any_berth().proxy;
                change_weather(proxy, weather, time);
                proxy.connections()
            }
            Self::End(end) => {
                let proxy = &fleet.any_berth().proxy;
                let connections = proxy.connections();
                proxy.end_connections(end);
                connections
            }
            Self::Strike(statement, fault) => arm(&fleet.any_worker().proxy, statement, fault),
            Self::LoseCommit => arm(&fleet.any_berth().proxy, COMMIT, Fault::LoseDone),
            Self::CutAfter(bytes) => {
                fleet.any_worker().proxy.cut_after(bytes);
                1
            }
            Self::TerminateSessions(one_in) => terminate_sessions(cluster, one_in).await,
        }
    }

    /// Gives what faults of its kind are called.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::KillWorker => "workers killed",
            Self::KillProducer => "producers killed",
            Self::Stop(_) | Self::StopWorker(_) => "processes stopped",
            Self::Terminate { twice: false } => "workers told to end",
            Self::Terminate { twice: true } => "workers told to end twice",
            Self::Weather(Weather::Clear, _) => "networks clear",
            Self::Weather(Weather::Slow(_), _) => "networks slow",
            Self::Weather(Weather::Throttled(_), _) => "networks throttled",
            Self::Weather(Weather::DeafServer, _) => "networks deaf at the server",
            Self::Weather(Weather::DeafClient, _) => "networks deaf at the client",
            Self::End(End::Reset) => "connections reset",
            Self::End(End::HalfOpen) => "connections half open",
            Self::Strike(..) => "statements armed",
            Self::LoseCommit => "commits armed",
            Self::CutAfter(_) => "cuts armed",
            Self::TerminateSessions(_) => "sessions terminated",
        }
    }
}

/// Decides how PostgreSQL goes down.
pub(crate) fn shutdown(rng: &mut Rng) -> Shutdown {
    [Shutdown::Fast, Shutdown::Immediate, Shutdown::Crash][rng.usize(..3)]
}

fn weather(rng: &mut Rng) -> Weather {
    match rng.u8(..4) {
        0 => Weather::Slow(Duration::from_millis(rng.u64(5..150))),
        1 => Weather::Throttled(rng.u32(2_000..50_000)),
        2 => Weather::DeafServer,
        _ => Weather::DeafClient,
    }
}

fn signals(
    process: Option<rustix::process::Pid>,
    signals: [Signal; 2],
    between: Duration,
) -> usize {
    let Some(process) = process else { return 0 };
    send(process, signals[0]);
    tokio::spawn(async move {
        tokio::time::sleep(between).await;
        send(process, signals[1]);
    });
    1
}

/// The proxy counts it when it strikes.
fn arm(proxy: &Proxy, statement: &'static str, fault: Fault) -> usize {
    proxy.arm(statement, fault);
    1
}

fn change_weather(proxy: &Proxy, weather: Weather, time: Duration) {
    let change = proxy.weather();
    change.send_replace(weather);
    tokio::spawn(async move {
        tokio::time::sleep(time).await;
        change.send_replace(Weather::Clear);
    });
}

async fn terminate_sessions(cluster: &Cluster, one_in: i64) -> usize {
    let Some(client) = cluster.connect().await else {
        return 0;
    };
    let terminate = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
        WHERE datname = current_database() AND application_name <> 'onlooker' AND random() * $1::bigint < 1";
    // The server may be going down: then its sessions end anyway.
    let terminated = client.query_one(terminate, &[&one_in]).await;
    terminated.map_or(0, |row| usize::try_from(row.get::<_, i64>(0)).unwrap())
}
