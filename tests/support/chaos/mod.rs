//! The processes of the soak (`tests/chaos`): what its jobs do, what workers and producers are told, and what they write down.
//!
//! Each process appends what it does to a file of its own, outside the database, before it does it: what is in the files
//! is evidence against the queue's own account. The program is `chaos_process.rs`.

#![expect(
    clippy::expect_used,
    clippy::missing_panics_doc,
    reason = "a test that cannot be set up panics"
)]

pub mod evidence;
pub mod plan;
pub mod producer;
pub mod worker;

use std::path::PathBuf;
use std::time::Duration;

use pgqueue_core::Job;
use serde::{Deserialize, Serialize};

/// The environment variable that carries the [`Role`].
pub const ROLE: &str = "CHAOS_PROCESS_ROLE";

/// The lease of every worker: short, so that a run of two minutes sees hundreds of rescues.
pub const LEASE: Duration = Duration::from_secs(2);

/// How many processes a job may take down as the only suspect.
pub const MAX_LOST: i32 = 3;

/// How many jobs one statement of a worker claims that claims ahead; four times as many are ahead at most.
pub const BATCH: usize = 20;

/// What errors say of a connection that is gone, or a server that goes down or comes up.
pub const GONE: [&str; 4] = [
    "terminating connection",
    "the database system is",
    "connection closed",
    "communicating with the server",
];

/// The queues, and how many of a queue's jobs one worker runs at once.
pub const QUEUES: [(&str, usize); 3] = [("swift", 10), ("slow", 6), ("effects", 4)];

/// What a process is to be.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Role {
    /// Runs jobs until it is told to stop.
    Worker(Worker),
    /// Enqueues jobs until its standard input ends.
    Producer(Producer),
}

/// What a worker process is told.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Worker {
    /// The database, through a proxy.
    pub url: String,
    /// The worker's name.
    pub name: String,
    /// Whether it claims ahead of its free slots.
    pub prefetches: bool,
    /// How often it looks without being woken.
    pub poll_interval: Duration,
    /// The file it appends to.
    pub evidence: PathBuf,
}

/// What a producer process is told.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Producer {
    /// The database, through a proxy.
    pub url: String,
    /// Its number, which no other producer of the run has.
    pub number: i64,
    /// The seed of all that it decides.
    pub seed: u64,
    /// Whether it enqueues over diesel-async.
    pub asynchronous: bool,
    /// What its jobs do.
    pub menu: Menu,
    /// How many jobs may wait or run before it rests.
    pub backlog: i64,
    /// The file it appends to.
    pub evidence: PathBuf,
}

/// A job of the soak.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Soak {
    /// The producer's number of it: no two jobs have the same.
    pub intent: i64,
    /// What the handler does.
    pub act: Act,
}

impl Job for Soak {
    const KIND: &'static str = "soak";
}

/// Which jobs a producer wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Menu {
    /// All kinds of acts, most of them short.
    All,
    /// None that ends its process.
    Harmless,
    /// Many that take about as long as a lease, few at a time, none with a retry: one that is lost is dead at once, and need not
    /// wait for others that were lost when somebody has requeued it.
    Long,
}

/// What a handler does with a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Act {
    /// Returns at once.
    Return,
    /// Returns after so many milliseconds.
    Sleep(u64),
    /// Writes an effect and completes in the same transaction, which takes so many milliseconds.
    Effect(u64),
    /// Fails so many first runs.
    Fail(i32),
    /// Panics in its first run.
    Panic,
    /// Snoozes once.
    Snooze,
    /// Says that it is dead.
    GiveUp,
    /// Ends its process as a crash does.
    Crash,
}
