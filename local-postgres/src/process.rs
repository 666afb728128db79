//! One server process and its directory, tied to the life of this process.
//!
//! Used by `server` only. Both belong to a small shell, the guard (`guard.sh`): it takes our orders from a pipe and
//! answers on another. Only we hold the order pipe's other end, so the kernel closes it when we are gone, however that
//! came about, and the guard then stops the server and removes the directory. The guard is the server's parent and we
//! are the guard's: each end is waited for, no zombie is left.

use std::{
    fs,
    hash::{BuildHasher, RandomState},
    io::{self, BufRead, BufReader, Write},
    os::unix::{
        fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
        process::CommandExt,
    },
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError, channel},
    thread,
    time::{Duration, Instant},
};

use crate::{
    Error,
    account::{Account, hand_over},
};

/// A start ends after about a second, crash recovery of a benchmark's write-ahead log may take a minute.
const START_LIMIT: Duration = Duration::from_secs(120);

/// `Fast` writes a checkpoint, which on a slow disk and a large `shared_buffers` is the longest part.
const STOP_LIMIT: Duration = Duration::from_secs(120);

/// How often a starting server is looked at: well below the half second that a start takes.
const READY_POLL: Duration = Duration::from_millis(5);

/// Enough of a log to hold the reason, which comes last.
const LOG_LINES: usize = 10;

/// How a server stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shutdown {
    /// Rolls back every transaction, disconnects every client and writes a checkpoint, as an operator's restart does.
    Fast,
    /// Stops at once without a checkpoint, as a crash does: the next start recovers from the write-ahead log.
    Immediate,
    /// Kills the server's first process, which is what `kill -9` and the kernel's out-of-memory killer do. Sessions in the
    /// midst of a statement may outlive it for a moment.
    Crash,
}

impl Shutdown {
    fn order(self) -> &'static str {
        match self {
            Self::Fast => "INT",
            Self::Immediate => "QUIT",
            Self::Crash => "crash",
        }
    }
}

/// Where the data of a new server come from.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Origin {
    /// Nowhere: an empty cluster.
    New,
    /// The server on this port of ours, which this one then follows as a hot standby.
    CopyOf(u16),
}

/// What the guard reports.
enum Event {
    Started { pid: u32 },
    Exited { success: bool },
}

/// A data directory and, while it runs, the server on it. Dropping it stops the server and removes the directory.
pub(crate) struct Process {
    directory: PathBuf,
    guard: Child,
    events: Receiver<Event>,
    running: bool,
}

impl Process {
    /// Makes the directory in `place`, puts `files` beside the data, and fills it. `settings` apply at every start.
    pub(crate) fn create(
        place: &Path,
        origin: Origin,
        binaries: &Path,
        settings: &[(String, String)],
        files: &[(&str, &str)],
    ) -> Result<Self, Error> {
        let directory = make_directory(place)?;
        let (mut guard, account) = guarded(&directory, binaries, settings).inspect_err(|_| {
            fs::remove_dir_all(&directory).ok(); // Empty, and the error to report is the other one.
        })?;
        let events = listen(&mut guard);
        let mut process = Self {
            directory,
            guard,
            events,
            running: false,
        };

        for (name, content) in files {
            process.write_file(name, content, account)?;
        }
        let order = match origin {
            Origin::New => "initdb".to_owned(),
            Origin::CopyOf(port) => format!("copy {port}"),
        };
        process.order(&order)?;
        match (process.next_event()?, process.next_event()?) {
            (_, Event::Exited { success: true }) => Ok(process),
            _ => Err(process.failed(&order)),
        }
    }

    /// Starts the server and returns when it accepts connections.
    pub(crate) fn start(&mut self, port: u16) -> Result<(), Error> {
        if self.is_running() {
            return Ok(());
        }
        let deadline = Instant::now() + START_LIMIT;
        loop {
            self.order(&format!("start {port}"))?;
            let Event::Started { pid } = self.next_event()? else {
                return Err(self.failed("the private PostgreSQL"));
            };
            self.running = true;
            match self.wait_until_ready(pid) {
                Err(_) if self.has_survivors() && Instant::now() < deadline => {
                    thread::sleep(READY_POLL);
                }
                started => return started,
            }
        }
    }

    /// Whether the last start failed because sessions of the server that crashed still end.
    fn has_survivors(&self) -> bool {
        self.log().contains("still in use")
    }

    /// Stops the server and returns when it is gone.
    pub(crate) fn stop(&mut self, shutdown: Shutdown) -> Result<(), Error> {
        if !self.is_running() {
            return Ok(());
        }
        self.order(shutdown.order())?;
        self.next_event()?;
        self.running = false;
        Ok(())
    }

    /// Whether the last start failed because another process has the port.
    pub(crate) fn port_was_taken(&self) -> bool {
        self.log().contains("could not bind")
    }

    /// Also notices a server that ended by itself, or was killed by a test.
    fn is_running(&mut self) -> bool {
        match self.events.try_recv() {
            Err(TryRecvError::Empty) => {}
            Ok(_) | Err(TryRecvError::Disconnected) => self.running = false,
        }
        self.running
    }

    fn wait_until_ready(&mut self, pid: u32) -> Result<(), Error> {
        let deadline = Instant::now() + START_LIMIT;
        while !self.is_ready(pid) {
            match self.events.recv_timeout(READY_POLL) {
                Err(RecvTimeoutError::Timeout) if Instant::now() < deadline => {}
                Err(RecvTimeoutError::Timeout) => return Err(self.failed("the private PostgreSQL")),
                Ok(_) | Err(RecvTimeoutError::Disconnected) => {
                    self.running = false;
                    return Err(self.failed("the private PostgreSQL"));
                }
            }
        }
        Ok(())
    }

    /// Reads the server's own word. The first line tells a file that a killed predecessor left behind.
    fn is_ready(&self, pid: u32) -> bool {
        let status =
            fs::read_to_string(self.directory.join("data/postmaster.pid")).unwrap_or_default();
        let mut lines = status.lines().map(str::trim);
        lines.next() == Some(pid.to_string().as_str()) && lines.nth(6) == Some("ready")
    }

    fn order(&mut self, order: &str) -> Result<(), Error> {
        let pipe = self
            .guard
            .stdin
            .as_mut()
            .expect("invariant: the pipe is only taken by drop");
        writeln!(pipe, "{order}")
            .map_err(|error| Error::caused("the guard of the private PostgreSQL is gone", error))
    }

    fn next_event(&self) -> Result<Event, Error> {
        self.events
            .recv_timeout(STOP_LIMIT)
            .map_err(|_| self.failed("the guard of the private PostgreSQL"))
    }

    fn write_file(&self, name: &str, content: &str, account: Option<Account>) -> Result<(), Error> {
        let path = self.directory.join(name);
        let written = fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .and_then(|mut file| {
                file.write_all(content.as_bytes())?;
                hand_over(&path, account)
            });
        written.map_err(|error| unusable(&path, error))
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.directory.join("log")).unwrap_or_default()
    }

    fn failed(&self, what: &str) -> Error {
        let log = self.log();
        let skipped = log.lines().count().saturating_sub(LOG_LINES);
        let newest: Vec<_> = log.lines().skip(skipped).collect();
        let directory = self.directory.display();
        Error::new(format!(
            "{what} failed in {directory}; correct what its log names: {}",
            newest.join("\n")
        ))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.guard.stdin.take());
        // Drop cannot report. A guard that was killed by hand fails both; the directory is then all that is left.
        self.guard.wait().ok();
        fs::remove_dir_all(&self.directory).ok();
    }
}

/// A number that no other process draws, for names that must not collide.
pub(crate) fn random() -> u64 {
    RandomState::new().hash_one(())
}

fn make_directory(place: &Path) -> Result<PathBuf, Error> {
    let path = place.join(format!("local-postgres-{:016x}", random()));
    fs::DirBuilder::new()
        .mode(0o700)
        .create(&path)
        .map_err(|error| unusable(&path, error))?;
    Ok(path)
}

/// Hands the directory over to the user that the server runs as, and sets the guard on it.
fn guarded(
    directory: &Path,
    binaries: &Path,
    settings: &[(String, String)],
) -> Result<(Child, Option<Account>), Error> {
    let failed = |error| unusable(directory, error);
    let is_root = fs::metadata(directory).map_err(failed)?.uid() == 0;
    let account = if is_root {
        Some(Account::find()?)
    } else {
        None
    };
    hand_over(directory, account).map_err(failed)?;
    let guard = spawn_guard(directory, account, binaries, settings).map_err(failed)?;
    Ok((guard, account))
}

fn spawn_guard(
    directory: &Path,
    account: Option<Account>,
    binaries: &Path,
    settings: &[(String, String)],
) -> io::Result<Child> {
    let mut command = Command::new("/bin/sh");
    command
        .arg("-c")
        .arg(include_str!("guard.sh"))
        .arg(binaries);
    for (name, value) in settings {
        command.arg("-c").arg(format!("{name}={value}"));
    }
    if let Some(account) = account {
        command.uid(account.user).gid(account.group);
    }
    // A group of its own keeps Ctrl-C in the terminal from the server, and lets the guard signal the whole group.
    command
        .process_group(0)
        .current_dir(directory)
        .env("LC_ALL", "C")
        .env_remove("PGDATA");
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
}

/// Reads the guard's answers on a thread, so that waiting for them can have a limit.
fn listen(guard: &mut Child) -> Receiver<Event> {
    let answers = guard
        .stdout
        .take()
        .expect("invariant: the guard was spawned with a piped stdout");
    let (sender, events) = channel();
    thread::spawn(move || {
        let lines = BufReader::new(answers).lines().map_while(Result::ok);
        lines
            .filter_map(|line| parse(&line))
            .try_for_each(|event| sender.send(event))
    });
    events
}

fn parse(answer: &str) -> Option<Event> {
    match answer.split_once(' ')? {
        ("started", pid) => Some(Event::Started {
            pid: pid.parse().ok()?,
        }),
        ("exited", status) => Some(Event::Exited {
            success: status == "0",
        }),
        _ => None,
    }
}

fn unusable(path: &Path, error: io::Error) -> Error {
    Error::caused(
        format!(
            "{} cannot be used as PostgreSQL's directory; set TMPDIR to a folder that all users may enter",
            path.display()
        ),
        error,
    )
}
