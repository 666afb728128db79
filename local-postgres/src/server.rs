//! A PostgreSQL server: a private one, or one that is there already.
//!
//! The entry to this crate. A private server keeps its port and its data over `stop`, `start_again` and `restart`; a
//! server that we did not start is never stopped.

use std::{
    collections::HashMap,
    env, fmt,
    iter::repeat_with,
    net::TcpListener,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::{
    Error, Shutdown, Template, binaries,
    process::{Origin, Process, random},
    sql,
};

/// For tests: nothing is kept beyond the process, so nothing needs to reach the disk.
const FLEETING: [(&str, &str); 3] = [
    ("fsync", "off"),
    ("full_page_writes", "off"),
    ("synchronous_commit", "off"),
];

/// For benchmarks: what production runs with. 1 GB keeps a table of some million jobs in memory.
const DURABLE: [(&str, &str); 4] = [
    ("fsync", "on"),
    ("full_page_writes", "on"),
    ("synchronous_commit", "on"),
    ("shared_buffers", "1GB"),
];

/// PostgreSQL's default of 100 is too few for tests that run in parallel with a pool each.
const MAX_CONNECTIONS: (&str, &str) = ("max_connections", "300");

/// Below the ports that Linux (32768) and macOS (49152) hand out for outgoing connections. While a server is stopped, a
/// client that dials one of those again and again gets it as its own, connects to itself, and blocks the restart.
const PORTS: std::ops::Range<u16> = 15_000..32_000;

/// Another process may take a port between our look and the server's bind.
const PORT_ATTEMPTS: usize = 20;

/// Lie beside the data, and the paths start there.
const TLS: [(&str, &str); 3] = [
    ("ssl", "on"),
    ("ssl_cert_file", "../server.crt"),
    ("ssl_key_file", "../server.key"),
];
const CERTIFICATE: &str = "server.crt";
const KEY: &str = "server.key";

/// Makes a certificate and its key, in PEM. Only the feature `tls` has such a function.
type MakeIdentity = fn() -> Result<(String, String), Error>;

/// A template is prepared under its own lock, so that preparing one does not hold up the others.
pub(crate) type Templates = Mutex<HashMap<String, Arc<Mutex<Option<Template>>>>>;

/// A PostgreSQL server to create databases on. Dropping it stops a private server and removes its data.
///
/// In a `static` it is never dropped; the server goes all the same when the process ends.
///
/// No method needs `&mut`, each may be called from any thread and inside an async runtime. They block it for a while:
/// some milliseconds for a database, a second for a server.
pub struct LocalPostgres {
    /// Names any one database that exists.
    url: String,
    port: u16,
    version: String,
    major_version: u32,
    /// `None` when the server is not ours.
    process: Option<Mutex<Process>>,
    certificate: Option<String>,
    pub(crate) templates: Templates,
}

impl LocalPostgres {
    /// Starts a private server for tests: `fsync`, `full_page_writes` and `synchronous_commit` off, 300 connections.
    ///
    /// # Errors
    /// When no PostgreSQL is installed, naming what was looked for; when it does not start, with the end of its log.
    pub fn start() -> Result<Self, Error> {
        Self::builder().start()
    }

    /// Uses the server that the environment variable names, as a URL; starts a private one when it is unset or empty.
    ///
    /// # Errors
    /// As [`connect`](Self::connect) and [`start`](Self::start).
    pub fn from_env_or_start(variable: &str) -> Result<Self, Error> {
        Self::builder().unless_env(variable).start()
    }

    /// Uses a server that is there already. The URL's user needs the right to create databases.
    ///
    /// Databases that crashed processes left there are dropped a day later, by whichever process connects then: those
    /// named `local_postgres_…` that nobody is connected to.
    ///
    /// # Errors
    /// When the URL does not begin with `postgres://` or `postgresql://`, or when the server does not answer.
    pub fn connect(url: &str) -> Result<Self, Error> {
        let port = sql::port(url)?;
        let server = Self::answering(url.to_owned(), port, None, None)?;
        server.drop_leftovers()?;
        Ok(server)
    }

    /// Settles what a private server is started with.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// The URL of a database on this server, such as `postgres://postgres@127.0.0.1:20817/orders`.
    pub fn url(&self, database: &str) -> String {
        sql::with_database(&self.url, database)
    }

    /// The server's TCP port. It stays the same over restarts.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The version as the server tells it, such as `15.18 (Debian 15.18-0+deb12u1)`.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// The major version, such as 15.
    pub fn major_version(&self) -> u32 {
        self.major_version
    }

    /// Whether this process started the server, so that it may stop it.
    pub fn is_private(&self) -> bool {
        self.process.is_some()
    }

    /// The certificate to trust, in PEM, of a server built with [`Builder::tls`].
    pub fn certificate(&self) -> Option<&str> {
        self.certificate.as_deref()
    }

    /// Starts another private server that follows this one as a hot standby, with the builder's settings.
    ///
    /// It reads what this one writes; `SELECT pg_promote()` on it makes it a server of its own.
    ///
    /// # Errors
    /// When this server is not private or does not run, or the copy does not start, with the end of its log.
    pub fn standby(&self, builder: Builder) -> Result<Self, Error> {
        drop(self.process()?);
        builder.start_private(Origin::CopyOf(self.port))
    }

    /// Stops the server and starts it again, with the same port and data.
    ///
    /// # Errors
    /// When the server is not private, or does not stop or start within two minutes, with the end of its log.
    pub fn restart(&self, shutdown: Shutdown) -> Result<(), Error> {
        let mut process = self.process()?;
        process.stop(shutdown)?;
        process.start(self.port)
    }

    /// Stops the server and keeps port and data for [`start_again`](Self::start_again); nothing when it is stopped.
    ///
    /// # Errors
    /// As [`restart`](Self::restart).
    pub fn stop(&self, shutdown: Shutdown) -> Result<(), Error> {
        self.process()?.stop(shutdown)
    }

    /// Starts the server that was stopped, or killed, with the same port and data; nothing when it runs.
    ///
    /// # Errors
    /// As [`restart`](Self::restart).
    pub fn start_again(&self) -> Result<(), Error> {
        self.process()?.start(self.port)
    }

    /// Gives what the server has logged since it was made; empty when it is not private.
    #[must_use]
    pub fn log(&self) -> String {
        self.process()
            .map_or_else(|_| String::new(), |process| process.log())
    }

    /// Where whole databases are created and dropped.
    pub(crate) fn server_url(&self) -> &str {
        &self.url
    }

    fn process(&self) -> Result<MutexGuard<'_, Process>, Error> {
        let process = self.process.as_ref().ok_or_else(|| {
            Error::new(format!(
                "the PostgreSQL on port {} was not started here, so it is not stopped here; \
                 unset the environment variable that names it to get a private one",
                self.port
            ))
        })?;
        Ok(locked(process))
    }

    fn answering(
        url: String,
        port: u16,
        process: Option<Process>,
        certificate: Option<String>,
    ) -> Result<Self, Error> {
        let (version, major_version) = sql::version(&url)?;
        let process = process.map(Mutex::new);
        Ok(Self {
            url,
            port,
            version,
            major_version,
            process,
            certificate,
            templates: Templates::default(),
        })
    }
}

impl fmt::Debug for LocalPostgres {
    /// Leaves out the URL, which may carry a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalPostgres")
            .field("port", &self.port)
            .field("version", &self.version)
            .field("private", &self.is_private())
            .finish_non_exhaustive()
    }
}

/// What a private server is started with. Made by [`LocalPostgres::builder`].
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct Builder {
    durable: bool,
    settings: Vec<(String, String)>,
    variable: Option<String>,
    identity: Option<MakeIdentity>,
    directory: Option<PathBuf>,
}

impl Builder {
    /// Switches `fsync`, `full_page_writes` and `synchronous_commit` on and sets `shared_buffers` to 1 GB.
    pub fn durable(mut self) -> Self {
        self.durable = true;
        self
    }

    /// Sets a parameter of `postgresql.conf`, such as `("log_statement", "all")`. The last one of a name wins.
    pub fn setting(mut self, name: &str, value: &str) -> Self {
        self.settings.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Keeps the data below this directory, which all users may enter; the temporary directory by default.
    pub fn directory(mut self, directory: impl Into<PathBuf>) -> Self {
        self.directory = Some(directory.into());
        self
    }

    /// Sets `ssl = on` with a self-signed certificate for `localhost` and 127.0.0.1, see
    /// [`LocalPostgres::certificate`]. Connections without TLS are accepted too.
    #[cfg(feature = "tls")]
    pub fn tls(mut self) -> Self {
        self.identity = Some(crate::tls::self_signed);
        self
    }

    /// Uses the server that the environment variable names instead, when it is set; then the other settings are void.
    pub fn unless_env(mut self, variable: &str) -> Self {
        self.variable = Some(variable.to_owned());
        self
    }

    /// Starts the server and returns when it answers.
    ///
    /// # Errors
    /// As [`LocalPostgres::start`].
    pub fn start(self) -> Result<LocalPostgres, Error> {
        let Some((variable, url)) = self.named_server() else {
            return self.start_private(Origin::New);
        };
        LocalPostgres::connect(&url).map_err(|error| {
            Error::caused(
                format!("cannot use the PostgreSQL that {variable} names"),
                error,
            )
        })
    }

    fn named_server(&self) -> Option<(&str, String)> {
        let variable = self.variable.as_deref()?;
        let url = env::var(variable).ok()?;
        (!url.is_empty()).then_some((variable, url))
    }

    fn start_private(self, origin: Origin) -> Result<LocalPostgres, Error> {
        let binaries = binaries::find()?;
        let identity = self.identity.map(|make| make()).transpose()?;
        let files = identity
            .iter()
            .flat_map(|(certificate, key)| [(CERTIFICATE, certificate), (KEY, key)]);
        let files: Vec<_> = files
            .map(|(name, content)| (name, content.as_str()))
            .collect();

        let place = self.directory.clone().unwrap_or_else(env::temp_dir);
        let mut process = Process::create(&place, origin, &binaries, &self.all_settings(), &files)?;
        let port = start_on_free_port(&mut process)?;

        let url = format!("postgres://postgres@127.0.0.1:{port}/postgres");
        LocalPostgres::answering(
            url,
            port,
            Some(process),
            identity.map(|(certificate, _)| certificate),
        )
    }

    /// The caller's settings come last, so that they win.
    fn all_settings(&self) -> Vec<(String, String)> {
        let safety = if self.durable {
            &DURABLE[..]
        } else {
            &FLEETING[..]
        };
        let tls = if self.identity.is_some() {
            &TLS[..]
        } else {
            &[]
        };
        let ours = safety.iter().chain(tls).chain([&MAX_CONNECTIONS]);
        let ours = ours.map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        ours.chain(self.settings.iter().cloned()).collect()
    }
}

fn start_on_free_port(process: &mut Process) -> Result<u16, Error> {
    for port in candidates() {
        match process.start(port) {
            Ok(()) => return Ok(port),
            Err(_) if process.port_was_taken() => {} // Somebody was faster: on to the next.
            Err(error) => return Err(error),
        }
    }
    Err(Error::new(format!(
        "no free port on 127.0.0.1 between {} and {}; stop some servers",
        PORTS.start, PORTS.end
    )))
}

fn candidates() -> impl Iterator<Item = u16> {
    let numbers = repeat_with(|| {
        PORTS.start + u16::try_from(random() % u64::from(PORTS.end - PORTS.start)).unwrap_or(0)
    });
    numbers
        .take(PORT_ATTEMPTS)
        .filter(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok())
}

pub(crate) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic in a test that holds the lock leaves a valid value: every change is one assignment at the end.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
