//! A private PgBouncer in front of the tests' PostgreSQL, one a test, with settings of the test's choice.
//!
//! The program is `PGQUEUE_PGBOUNCER`, or `pgbouncer` on the `PATH`, or Debian's. It belongs to a small shell that ends it
//! when the test, however it goes, closes the shell's standard input. PgBouncer does not run as root: then nobody owns it.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::{MetadataExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use diesel::connection::{CacheSize, SimpleConnection};
use diesel::prelude::*;
use diesel_async::{AsyncConnection, AsyncPgConnection};
use pgqueue_suite::{TestDatabase, server};

/// Where Debian installs it, which is on the `PATH` of root only.
const DEBIAN: &str = "/usr/sbin/pgbouncer";
/// The user `nobody` of every system.
const NOBODY: u32 = 65534;
/// How long it may take to listen.
const PATIENCE: Duration = Duration::from_secs(20);
/// Runs $1 on the configuration $2 until standard input ends. By SIGTERM, new versions wait for their clients to leave.
const GUARD: &str = r#""$1" -q "$2" & pid=$!; read -r _; kill -KILL "$pid"; wait"#;

/// A running PgBouncer in front of one database.
pub(crate) struct PgBouncer {
    guard: Child,
    url: String,
    port: u16,
    folder: tempfile::TempDir,
}

impl PgBouncer {
    /// Starts it with lines of its configuration, `pool_mode` among them.
    pub(crate) fn start(db: &TestDatabase, settings: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let port = free_port();
        let configuration = folder.path().join("pgbouncer.ini");
        fs::write(&configuration, written(port, settings)).unwrap();
        if fs::metadata(&configuration).unwrap().uid() == 0 {
            for path in [folder.path(), &configuration] {
                chown(path, Some(NOBODY), Some(NOBODY)).unwrap();
            }
        }
        let guard = launch(folder.path());
        let direct = format!(":{}/", server().port());
        let url = db.url().replace(&direct, &format!(":{port}/"));
        let pooler = Self {
            guard,
            url,
            port,
            folder,
        };
        pooler.wait_until_ready();
        pooler
    }

    /// Ends it with all its sessions, and starts it anew on the same port.
    pub(crate) fn restart(&mut self) {
        self.end();
        self.guard = launch(self.folder.path());
        self.wait_until_ready();
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Connects with sync Diesel, as it is by default.
    pub(crate) fn sync(&self) -> PgConnection {
        PgConnection::establish(&self.url).unwrap()
    }

    /// Connects with sync Diesel, its cache of prepared statements switched off.
    pub(crate) fn without_cache(&self) -> PgConnection {
        let mut conn = self.sync();
        conn.set_prepared_statement_cache_size(CacheSize::Disabled);
        conn
    }

    pub(crate) async fn asynchronous(&self) -> AsyncPgConnection {
        AsyncPgConnection::establish(&self.url).await.unwrap()
    }

    /// Has it open so many sessions, by as many transactions at once.
    pub(crate) fn open_sessions(&self, count: usize) {
        let mut conns: Vec<PgConnection> = (0..count).map(|_| self.without_cache()).collect();
        for conn in &mut conns {
            conn.batch_execute("BEGIN; SELECT").unwrap();
        }
        for conn in &mut conns {
            conn.batch_execute("COMMIT").unwrap();
        }
    }

    fn end(&mut self) {
        drop(self.guard.stdin.take());
        // It has ended already: fine.
        self.guard.wait().ok();
    }

    fn wait_until_ready(&self) {
        let give_up = Instant::now() + PATIENCE;
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            let log = || fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
            assert!(Instant::now() < give_up, "PgBouncer listens: {}", log());
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for PgBouncer {
    fn drop(&mut self) {
        self.end();
    }
}

/// Starts the guard on what the folder holds.
fn launch(folder: &Path) -> Child {
    let configuration = folder.join("pgbouncer.ini");
    let log = fs::File::create(folder.join("log")).unwrap();
    let mut command = Command::new("/bin/sh");
    command.args(["-c", GUARD, "guard"]);
    command.arg(program()).arg(&configuration);
    if fs::metadata(&configuration).unwrap().uid() == NOBODY {
        command.uid(NOBODY).gid(NOBODY);
    }
    let command = command.stdin(Stdio::piped()).stdout(Stdio::null());
    command.stderr(log).spawn().unwrap()
}

/// Tells whether it keeps the prepared statements of transaction mode apart: from 1.21 on it can.
pub(crate) fn knows_prepared_statements() -> bool {
    let said = Command::new(program()).arg("--version").output().unwrap();
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    let version = said.lines().next().unwrap().rsplit(' ').next().unwrap();
    let mut numbers = version.split('.').map(|number| number.parse::<u32>().ok());
    (numbers.next(), numbers.next()) >= (Some(Some(1)), Some(Some(21)))
}

fn written(port: u16, settings: &[&str]) -> String {
    let settings = settings.join("\n");
    format!(
        "[databases]\n* = host=127.0.0.1 port={} user=postgres\n\
         [pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\nauth_type = any\n{settings}\n",
        server().port()
    )
}

fn program() -> PathBuf {
    if let Some(chosen) = std::env::var_os("PGQUEUE_PGBOUNCER") {
        return chosen.into();
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let on_path = std::env::split_paths(&path).map(|folder| folder.join("pgbouncer"));
    let mut known = on_path.chain([Path::new(DEBIAN).to_owned()]);
    known.find(|program| program.is_file()).expect(
        "PgBouncer is installed: `apt-get install pgbouncer` or `brew install pgbouncer`, or set PGQUEUE_PGBOUNCER to the program",
    )
}

fn free_port() -> u16 {
    let free = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    free.local_addr().unwrap().port()
}
