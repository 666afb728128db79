//! A worker in a process of its own, for tests that kill, stop and signal it: what it is told and what it answers.
//!
//! The program is `worker_process.rs`. It reads its [`Settings`] from the environment, writes a line for everything that
//! happens to its jobs, logs included, and opens the gate of its waiting handlers when it reads a line.

#![expect(
    clippy::expect_used,
    clippy::missing_panics_doc,
    reason = "a test that cannot be set up panics"
)]

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use pgqueue_core::Job;
use serde::{Deserialize, Serialize};

use crate::wait_until;

/// The environment variable that carries the settings.
pub const SETTINGS: &str = "WORKER_PROCESS_SETTINGS";

/// What the process is started with.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Settings {
    /// The database.
    pub url: String,
    /// The worker's name.
    pub name: String,
    /// The worker's lease.
    pub lease: Duration,
    /// How many jobs run at once.
    pub concurrency: usize,
    /// The grace period at shutdown.
    pub grace: Duration,
    /// How many processes a job may take down.
    pub max_lost: i32,
    /// Threads of the runtime; 0: a current-thread runtime.
    pub threads: usize,
    /// Runs an actix-web server beside the worker; the process ends when both have ended.
    pub actix: bool,
}

impl Settings {
    /// Gives the settings that most tests want: nothing waits longer than it must.
    #[must_use]
    pub fn new(url: &str, name: &str, lease: Duration) -> Self {
        Self {
            url: url.to_owned(),
            name: name.to_owned(),
            lease,
            concurrency: 10,
            grace: Duration::from_secs(30),
            max_lost: 3,
            threads: 2,
            actix: false,
        }
    }
}

/// What an async handler of the process does with a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Act {
    /// Returns at once.
    Return,
    /// Returns when the gate is open.
    Wait,
    /// When the gate is open, writes a row into the table `effects` and completes the job in the same transaction.
    CompleteIn,
    /// Blocks a thread of the runtime.
    Block(Duration),
    /// Never returns and never looks at its cancellation.
    Never,
    /// Panics.
    Panic,
    /// Ends the process as a crash does.
    Abort,
}

impl Job for Act {
    const KIND: &'static str = "act";
}

/// A job for a blocking handler that sleeps through every wish to stop it.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Grind(pub Duration);

impl Job for Grind {
    const KIND: &'static str = "grind";
}

/// A running worker process. It is killed when this is dropped.
#[derive(Debug)]
pub struct WorkerProcess {
    child: Child,
    stdin: ChildStdin,
    lines: Arc<Mutex<Vec<String>>>,
    name: String,
}

impl WorkerProcess {
    /// Starts `program`, which is `env!("CARGO_BIN_EXE_worker-process")` in a test.
    #[must_use]
    pub fn start(program: &str, settings: &Settings) -> Self {
        let settings_text = serde_json::to_string(settings).expect("settings are JSON");
        let mut child = Command::new(program)
            .env(SETTINGS, settings_text)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the worker process starts");
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
        let lines = Arc::new(Mutex::new(Vec::new()));
        let (output, heard) = (stdout.expect("invariant: piped"), Arc::clone(&lines));
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                locked(&heard).push(line);
            }
        });
        Self {
            child,
            stdin: stdin.expect("invariant: piped"),
            lines,
            name: settings.name.clone(),
        }
    }

    /// Gives the process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Opens the gate of the handlers that wait.
    pub fn open_gate(&mut self) {
        self.stdin
            .write_all(b"open\n")
            .and_then(|()| self.stdin.flush())
            .expect("the worker process reads");
    }

    /// Counts the lines so far that contain a text.
    #[must_use]
    pub fn said(&self, text: &str) -> usize {
        let lines = locked(&self.lines);
        lines.iter().filter(|line| line.contains(text)).count()
    }

    /// Waits for a line that contains a text.
    pub async fn wait_for(&self, text: &str) {
        wait_until(&format!("{} says {text:?}", self.name), async || {
            self.said(text) > 0
        })
        .await;
    }

    /// Waits until the handler of a job has begun.
    pub async fn wait_for_begin(&self, job: i64) {
        self.wait_for(&format!("began {job} ")).await;
    }

    /// Waits until the handler of a job has begun so often.
    pub async fn wait_for_begins(&self, job: i64, count: usize) {
        let what = format!("{} begins job {job} {count} times", self.name);
        wait_until(&what, async || self.begins(job) >= count).await;
    }

    /// Counts how often the handler of a job has begun, as far as it was heard.
    #[must_use]
    pub fn begins(&self, job: i64) -> usize {
        self.said(&format!("began {job} "))
    }

    /// Kills the process, which is what `kill -9` does.
    pub fn kill(&mut self) {
        self.child.kill().expect("the worker process is killed");
        self.child.wait().expect("the worker process is waited for");
    }

    /// Is true once the process has ended.
    #[must_use]
    pub fn has_exited(&mut self) -> bool {
        let exit = self.child.try_wait();
        exit.expect("the worker process is waited for").is_some()
    }

    /// Waits until the process has ended by itself.
    pub async fn wait_for_exit(&mut self) -> ExitStatus {
        let mut exit = None;
        wait_until(&format!("{} ends", self.name), || {
            exit = self
                .child
                .try_wait()
                .expect("the worker process is waited for");
            std::future::ready(exit.is_some())
        })
        .await;
        exit.expect("invariant: it has ended")
    }
}

impl Drop for WorkerProcess {
    fn drop(&mut self) {
        // Ended by itself already: fine.
        let _gone = self.child.kill();
        let _gone = self.child.wait();
        if std::thread::panicking() {
            let said = locked(&self.lines).join("\n");
            // A test that fails shows what its processes said; if it cannot, it fails all the same.
            let _lost = writeln!(std::io::stderr(), "--- {} said:\n{said}", self.name);
        }
    }
}

fn locked<T>(lines: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    lines.lock().unwrap_or_else(PoisonError::into_inner)
}
