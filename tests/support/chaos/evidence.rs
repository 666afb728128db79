//! What the processes of the soak write down, one line an event, and how it is read again.
//!
//! A line is one `write` to a file opened for appending: a process that is killed leaves whole lines, and what it has
//! written stays. Producers also sync theirs.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

/// How a producer enqueues.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Way {
    /// Over diesel-async.
    pub asynchronous: bool,
    /// By one call.
    pub in_bulk: bool,
}

impl Way {
    /// All that there are.
    pub const ALL: [Self; 4] = [
        Self::new(false, false),
        Self::new(false, true),
        Self::new(true, false),
        Self::new(true, true),
    ];

    const fn new(asynchronous: bool, in_bulk: bool) -> Self {
        Self {
            asynchronous,
            in_bulk,
        }
    }
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let over = if self.asynchronous { "async" } else { "sync" };
        let calls = if self.in_bulk {
            "in bulk"
        } else {
            "one by one"
        };
        write!(f, "{over} {calls}")
    }
}

/// Something that a process did, or is about to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Event {
    /// A handler begins a run.
    Began {
        /// The job.
        job: i64,
        /// The run.
        token: i64,
        /// The producer's number of the job.
        intent: i64,
    },
    /// A handler is about to end a run.
    Ends {
        /// The job.
        job: i64,
        /// The run.
        token: i64,
        /// How.
        how: How,
    },
    /// A producer is about to enqueue.
    Intends {
        /// Its numbers of the jobs, and the unique key of each.
        jobs: Vec<(i64, Option<String>)>,
        /// Whether a row of the producer's own goes into the same transaction.
        with_order: bool,
    },
    /// A producer's transaction has committed.
    Committed {
        /// How the jobs were enqueued.
        way: Way,
        /// For each of the jobs: its number, the id that was answered, and whether it was inserted.
        jobs: Vec<(i64, i64, bool)>,
    },
    /// A producer was refused what it asked for.
    Refused {
        /// Why.
        error: String,
    },
    /// A handler's future is gone: it has returned, panicked, or was aborted.
    Left {
        /// The job.
        job: i64,
        /// The run.
        token: i64,
    },
    /// A producer has rolled its transaction back.
    RolledBack {
        /// Its numbers of the jobs.
        intents: Vec<i64>,
    },
}

/// How a handler ends a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum How {
    /// It returns, or completes the job in a transaction of its own.
    Done,
    /// It returns an error, or panics.
    Failed,
    /// It asks to run later.
    Snoozed,
    /// It says that the job is dead.
    Dead,
}

/// A file that events are appended to.
#[derive(Debug)]
pub struct Evidence(Mutex<File>);

impl Evidence {
    /// Opens the file, or makes it.
    #[must_use]
    pub fn open(path: &Path) -> Self {
        let file = OpenOptions::new().create(true).append(true).open(path);
        Self(Mutex::new(file.expect("the evidence can be written")))
    }

    /// Appends an event: it is there even if the process is killed next.
    pub fn note(&self, event: &Event) {
        let mut file = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        write(&mut file, event).expect("the evidence is written");
    }

    /// Appends an event and waits until it would outlive the machine.
    pub fn note_and_sync(&self, event: &Event) {
        let mut file = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let synced = write(&mut file, event).and_then(|()| file.sync_data());
        synced.expect("the evidence is written");
    }
}

fn write(file: &mut File, event: &Event) -> io::Result<()> {
    let at = SystemTime::UNIX_EPOCH.elapsed().map_err(io::Error::other)?;
    let mut line = serde_json::to_string(&(at.as_micros(), event))?;
    line.push('\n');
    file.write_all(line.as_bytes())
}

/// Reads the events of a file with their times in microseconds. A file that is still written ends with the last whole line.
///
/// # Panics
/// When a line is no event.
#[must_use]
pub fn read(path: &Path) -> Vec<(i64, Event)> {
    let text = std::fs::read_to_string(path).expect("the evidence can be read");
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    whole
        .lines()
        .map(|line| serde_json::from_str(line).expect("a line is an event"))
        .collect()
}
