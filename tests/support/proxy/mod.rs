//! A TCP proxy before PostgreSQL that follows the protocol, so that a fault strikes one statement and not a moment.
//!
//! It knows which prepared statement each reply answers. A statement is named by a part of its text, such as the first
//! words of the comment at its head. Each fault that is armed strikes once; [`Weather`] lasts until it changes. It can also
//! rewrite statements under way, so that a test of the tests runs a broken queue with the real worker.

#![expect(
    clippy::expect_used,
    clippy::missing_panics_doc,
    reason = "a test that cannot be set up panics"
)]

mod rules;
mod session;
pub mod statements;
mod wire;

use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{broadcast, watch};
use tokio::task::{JoinHandle, JoinSet};

pub use rules::{Fault, Rewrite, Rewrites};

use rules::{Rules, locked};

/// How long a half-open connection takes up its place.
const HALF_OPEN: Duration = Duration::from_secs(60);
/// How long a proxy that cannot accept waits.
const SHORTLY: Duration = Duration::from_millis(50);

/// How the network behaves, for every connection of a proxy, until it is changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weather {
    /// Bytes pass at once.
    Clear,
    /// Every message waits so long on its way, either way.
    Slow(Duration),
    /// At most so many bytes a second pass, each way.
    Throttled(u32),
    /// Nothing reaches the server; its answers still come. What was sent meanwhile arrives when it is over.
    DeafServer,
    /// Nothing reaches the client; the server still hears it. What was answered meanwhile arrives when it is over.
    DeafClient,
}

/// How a proxy ends the connections that it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Both sides read that the connection was reset.
    Reset,
    /// Neither side reads anything for a minute, which is longer than anybody waits: a half-open connection on both ends.
    HalfOpen,
}

/// A running proxy. Its connections end with it.
#[derive(Debug)]
pub struct Proxy {
    url: String,
    shared: Shared,
    accepting: JoinHandle<()>,
}

/// What the connections of a proxy look at.
#[derive(Debug, Clone)]
struct Shared {
    rules: Rules,
    rewrites: Rewrites,
    server: watch::Sender<String>,
    weather: watch::Sender<Weather>,
    ends: broadcast::Sender<End>,
}

impl Proxy {
    /// Starts a proxy before the server of a URL.
    pub async fn start(url: &str) -> Self {
        Self::start_rewriting(url, Rewrites::default()).await
    }

    /// Starts a proxy that rewrites statements.
    pub async fn start_rewriting(url: &str, rewrites: Rewrites) -> Self {
        let parts = Url::of(url);
        let listener = TcpListener::bind(("127.0.0.1", 0)).await;
        let listener = listener.expect("a port is free");
        let port = listener.local_addr().expect("it is bound").port();
        let shared = Shared {
            rules: Rules::default(),
            rewrites,
            server: watch::Sender::new(parts.server.to_owned()),
            weather: watch::Sender::new(Weather::Clear),
            ends: broadcast::Sender::new(16),
        };
        let accepting = tokio::spawn(accept(listener, shared.clone()));
        Self {
            url: format!("{}127.0.0.1:{port}/{}", parts.before, parts.database),
            shared,
            accepting,
        }
    }

    /// Gives the URL that leads through the proxy.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Arms a fault for the next statement whose text contains `statement`.
    pub fn arm(&self, statement: &'static str, fault: Fault) {
        self.shared.rules.arm(statement, fault);
    }

    /// Disarms the faults that have not struck.
    pub fn disarm(&self) {
        self.shared.rules.disarm();
    }

    /// Closes the connection that is the next to have passed so many more bytes to its client, in the midst of a message.
    pub fn cut_after(&self, bytes: usize) {
        self.shared.rules.cut_after(bytes);
    }

    /// Makes the next connections slow, by these times one after the other.
    pub fn delay_connections(&self, delays: impl IntoIterator<Item = Duration>) {
        locked(&self.shared.rules.delays).extend(delays);
    }

    /// Tells how many faults have struck.
    #[must_use]
    pub fn struck(&self) -> usize {
        self.shared.rules.struck().values().sum()
    }

    /// Tells how many have struck each statement.
    #[must_use]
    pub fn struck_by_statement(&self) -> BTreeMap<&'static str, usize> {
        self.shared.rules.struck()
    }

    /// Gives what changes the weather.
    #[must_use]
    pub fn weather(&self) -> watch::Sender<Weather> {
        self.shared.weather.clone()
    }

    /// Tells how many connections there are.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.shared.ends.receiver_count()
    }

    /// Ends the connections that there are now.
    pub fn end_connections(&self, end: End) {
        // No connection: nothing to end.
        let _none = self.shared.ends.send(end);
    }

    /// Leads new connections to the server of another URL.
    pub fn lead_to(&self, url: &str) {
        let server = Url::of(url).server.to_owned();
        self.shared.server.send_replace(server);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// The parts of a URL: `postgres://user@`, `host:port` and the database.
struct Url<'a> {
    before: String,
    server: &'a str,
    database: &'a str,
}

impl<'a> Url<'a> {
    fn of(url: &'a str) -> Self {
        let (scheme, rest) = url.split_once("://").expect("a URL has a scheme");
        let (authority, database) = rest.split_once('/').expect("a URL names a database");
        let (user, server) = authority
            .rsplit_once('@')
            .unwrap_or(("postgres", authority));
        Self {
            before: format!("{scheme}://{user}@"),
            server,
            database,
        }
    }
}

async fn accept(listener: TcpListener, shared: Shared) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                match accepted {
                    Ok((client, _)) => {
                        connections.spawn(connect(client, shared.clone()));
                    }
                    // No descriptor is free: some will be.
                    Err(_) => tokio::time::sleep(SHORTLY).await,
                }
            }
            // A long run makes many connections: those that have ended are let go.
            Some(_) = connections.join_next() => {}
        }
    }
}

/// Serves one client to its end. An error means that the server is down, or that one side has closed: then the other is
/// closed too.
async fn connect(client: TcpStream, shared: Shared) -> io::Result<()> {
    let mut ends = shared.ends.subscribe();
    let delay = locked(&shared.rules.delays).pop_front();
    tokio::time::sleep(delay.unwrap_or_default()).await;
    let server = shared.server.borrow().clone();
    let server = TcpStream::connect(server).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (session, pumped) = session::Session::new(client, server, &shared);
    tokio::select! {
        ended = pumped => ended,
        Ok(end) = ends.recv() => match end {
            End::Reset => session.reset(),
            End::HalfOpen => {
                let reset = async { while !matches!(ends.recv().await, Ok(End::Reset) | Err(_)) {} };
                // Both are an end of it.
                let _either = tokio::time::timeout(HALF_OPEN, reset).await;
                session.reset()
            }
        },
    }
}
