//! A TCP proxy before PostgreSQL that follows the protocol, so that a fault strikes one statement and not a moment.
//!
//! It knows which prepared statement each reply answers. A statement is named by a part of its text, such as the first
//! words of the comment at its head. Each fault that is armed strikes once.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};

/// What happens to a statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The server runs and commits it; its reply, if it has rows, is swallowed and the connection closed.
    LoseReply,
    /// It never reaches the server; the client reads that an administrator has terminated its session.
    Terminate,
    /// It never reaches the server, and nobody answers: packets are dropped.
    Swallow,
}

/// A running proxy. Its connections end with it.
pub(crate) struct Proxy {
    url: String,
    rules: Rules,
    accepting: tokio::task::JoinHandle<()>,
}

#[derive(Clone, Default)]
struct Rules {
    armed: Arc<Mutex<Vec<(&'static str, Fault)>>>,
    struck: Arc<AtomicUsize>,
    /// How long the next connections take to be made, one each.
    delays: Arc<Mutex<VecDeque<Duration>>>,
}

impl Proxy {
    /// Starts a proxy before the server of a URL.
    pub(crate) async fn start(url: &str) -> Self {
        let (scheme, rest) = url.split_once("://").unwrap();
        let (authority, database) = rest.split_once('/').unwrap();
        let (user, server) = authority
            .rsplit_once('@')
            .unwrap_or(("postgres", authority));
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let rules = Rules::default();
        let accepting = tokio::spawn(accept(listener, server.to_owned(), rules.clone()));
        Self {
            url: format!("{scheme}://{user}@127.0.0.1:{port}/{database}"),
            rules,
            accepting,
        }
    }

    /// Gives the URL that leads through the proxy.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Arms a fault for the next statement whose text contains `statement`.
    pub(crate) fn arm(&self, statement: &'static str, fault: Fault) {
        locked(&self.rules.armed).push((statement, fault));
    }

    /// Makes the next connections slow, by these times one after the other.
    pub(crate) fn delay_connections(&self, delays: impl IntoIterator<Item = Duration>) {
        locked(&self.rules.delays).extend(delays);
    }

    /// Tells how many faults have struck.
    pub(crate) fn struck(&self) -> usize {
        self.rules.struck.load(Ordering::SeqCst)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Rules {
    fn has(&self, text: &str, fault: Fault) -> bool {
        let armed = locked(&self.armed);
        armed.iter().any(|rule| matches(*rule, text, fault))
    }

    /// Disarms the fault; true: it is to strike.
    fn strike(&self, text: &str, fault: Fault) -> bool {
        let mut armed = locked(&self.armed);
        let Some(at) = armed.iter().position(|rule| matches(*rule, text, fault)) else {
            return false;
        };
        armed.remove(at);
        self.struck.fetch_add(1, Ordering::SeqCst);
        true
    }
}

fn matches((statement, armed): (&str, Fault), text: &str, fault: Fault) -> bool {
    armed == fault && text.contains(statement)
}

async fn accept(listener: TcpListener, server: String, rules: Rules) {
    let mut connections = tokio::task::JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        let (server, rules) = (server.clone(), rules.clone());
        connections.spawn(async move {
            // The server is down, or one side has closed: then the other is closed too.
            let _ended = connect(client, &server, rules).await;
        });
    }
}

async fn connect(client: TcpStream, server: &str, rules: Rules) -> io::Result<()> {
    let delay = locked(&rules.delays).pop_front();
    tokio::time::sleep(delay.unwrap_or_default()).await;
    let server = TcpStream::connect(server).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let session = Arc::new(Session {
        rules,
        asked: Mutex::default(),
        to_client: tokio::sync::Mutex::new(to_client),
    });
    tokio::select! {
        ended = session.forward_questions(from_client, to_server) => ended,
        ended = session.forward_answers(from_server) => ended,
    }
}

/// One connection.
struct Session {
    rules: Rules,
    /// Texts of the statements whose replies are still to come, one each Sync.
    asked: Mutex<VecDeque<String>>,
    to_client: tokio::sync::Mutex<OwnedWriteHalf>,
}

impl Session {
    async fn forward_questions(
        &self,
        mut client: OwnedReadHalf,
        mut server: OwnedWriteHalf,
    ) -> io::Result<()> {
        server.write_all(&self.startup(&mut client).await?).await?;
        let mut prepared: HashMap<String, String> = HashMap::new();
        let mut asking = String::new();
        loop {
            let (kind, message) = read(&mut client).await?;
            let body = &message[5..];
            match kind {
                b'P' => {
                    let (name, rest) = text(body);
                    prepared.insert(name, text(rest).0);
                }
                b'B' => {
                    let (_portal, rest) = text(body);
                    asking = prepared.get(&text(rest).0).cloned().unwrap_or_default();
                    if self.rules.strike(&asking, Fault::Terminate) {
                        return self.terminate().await;
                    }
                    self.maybe_swallow(&asking).await;
                }
                b'S' => locked(&self.asked).push_back(std::mem::take(&mut asking)),
                b'Q' => {
                    self.maybe_swallow(&text(body).0).await;
                    locked(&self.asked).push_back(std::mem::take(&mut asking));
                }
                _ => {}
            }
            server.write_all(&message).await?;
        }
    }

    /// Reads the first message, which has no kind; refuses encryption, which would hide the rest.
    async fn startup(&self, client: &mut OwnedReadHalf) -> io::Result<Vec<u8>> {
        const ENCRYPTIONS: [u32; 2] = [80_877_103, 80_877_104];
        loop {
            let length = client.read_u32().await?;
            let mut message = length.to_be_bytes().to_vec();
            message.resize(length.try_into().unwrap(), 0);
            client.read_exact(&mut message[4..]).await?;
            let code = u32::from_be_bytes(message[4..8].try_into().unwrap());
            if !ENCRYPTIONS.contains(&code) {
                return Ok(message);
            }
            self.to_client.lock().await.write_all(b"N").await?;
        }
    }

    /// Never returns if the statement is to be swallowed: the connection hangs from then on.
    async fn maybe_swallow(&self, statement: &str) {
        if self.rules.strike(statement, Fault::Swallow) {
            std::future::pending::<()>().await;
        }
    }

    async fn terminate(&self) -> io::Result<()> {
        let fields =
            "SFATAL\0VFATAL\0C57P01\0Mterminating connection due to administrator command\0\0";
        let length = u32::try_from(fields.len() + 4).unwrap();
        let message = [b"E", &length.to_be_bytes()[..], fields.as_bytes()].concat();
        self.to_client.lock().await.write_all(&message).await
    }

    async fn forward_answers(&self, mut server: OwnedReadHalf) -> io::Result<()> {
        let (mut held, mut rows) = (Vec::new(), false);
        loop {
            let (kind, message) = read(&mut server).await?;
            held.extend_from_slice(&message);
            rows |= kind == b'D';
            let statement = locked(&self.asked).front().cloned().unwrap_or_default();
            let ready = kind == b'Z';
            if !ready && self.rules.has(&statement, Fault::LoseReply) {
                continue;
            }
            if ready && rows && self.rules.strike(&statement, Fault::LoseReply) {
                return Ok(());
            }
            if ready {
                locked(&self.asked).pop_front();
                rows = false;
            }
            self.to_client.lock().await.write_all(&held).await?;
            held.clear();
        }
    }
}

/// Reads one message: its kind, and all of its bytes.
async fn read(from: &mut OwnedReadHalf) -> io::Result<(u8, Vec<u8>)> {
    let kind = from.read_u8().await?;
    let length = from.read_u32().await?;
    let mut message = vec![kind];
    message.extend(length.to_be_bytes());
    message.resize(usize::try_from(length).unwrap() + 1, 0);
    from.read_exact(&mut message[5..]).await?;
    Ok((kind, message))
}

/// Splits a text that ends with a zero byte off.
fn text(bytes: &[u8]) -> (String, &[u8]) {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap();
    let text = String::from_utf8_lossy(&bytes[..end]).into_owned();
    (text, &bytes[end + 1..])
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap()
}
