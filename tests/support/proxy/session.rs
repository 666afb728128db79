//! One connection through a proxy: questions one way, answers the other.

use std::collections::{HashMap, VecDeque};
use std::future::Future;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::watch;

use super::rules::{Fault, Rewrites, Rules, locked};
use super::wire::{Message, startup, text};
use super::{Shared, Weather};

/// How many bytes of an answer are held back at most to be passed on at once.
const CHUNK: usize = 16 * 1024;

pub(super) struct Session {
    rules: Rules,
    rewrites: Rewrites,
    /// Texts of the statements whose replies are still to come, one each Sync.
    asked: Mutex<VecDeque<String>>,
    to_client: tokio::sync::Mutex<OwnedWriteHalf>,
    to_server: tokio::sync::Mutex<OwnedWriteHalf>,
    weather: watch::Receiver<Weather>,
}

impl Session {
    /// Joins two sides. What is answered beside the session runs until either side ends.
    pub(super) fn new(
        client: TcpStream,
        server: TcpStream,
        shared: &Shared,
    ) -> (Arc<Self>, impl Future<Output = io::Result<()>>) {
        let (from_client, to_client) = client.into_split();
        let (from_server, to_server) = server.into_split();
        let session = Arc::new(Self {
            rules: shared.rules.clone(),
            rewrites: shared.rewrites.clone(),
            asked: Mutex::default(),
            to_client: tokio::sync::Mutex::new(to_client),
            to_server: tokio::sync::Mutex::new(to_server),
            weather: shared.weather.subscribe(),
        });
        let pump = Arc::clone(&session);
        let pumped = async move {
            tokio::select! {
                ended = pump.forward_questions(BufReader::new(from_client)) => ended,
                ended = pump.forward_answers(BufReader::new(from_server)) => ended,
            }
        };
        (session, pumped)
    }

    /// Has both sides read that the connection was reset, once the halves are dropped.
    pub(super) fn reset(&self) -> io::Result<()> {
        for side in [&self.to_client, &self.to_server] {
            // Locked by a write that hangs: that side reads an end instead, when the pump is dropped.
            if let Ok(side) = side.try_lock() {
                side.as_ref().set_zero_linger()?;
            }
        }
        Ok(())
    }

    async fn forward_questions(&self, mut client: BufReader<OwnedReadHalf>) -> io::Result<()> {
        let first = self.startup(&mut client).await?;
        self.to_server.lock().await.write_all(&first).await?;
        let mut prepared: HashMap<String, String> = HashMap::new();
        let mut asking = String::new();
        loop {
            let mut message = Message::read(&mut client).await?;
            match message.kind {
                b'P' => {
                    let (name, rest) = text(message.body())?;
                    let (statement, types) = text(rest)?;
                    if let Some(other) = self.rewrites.of(&statement) {
                        let body = [name.as_bytes(), b"\0", other.as_bytes(), b"\0", types];
                        message = Message::new(b'P', &body.concat());
                    }
                    prepared.insert(name, statement);
                }
                b'B' => {
                    let (_portal, rest) = text(message.body())?;
                    asking = prepared.get(&text(rest)?.0).cloned().unwrap_or_default();
                    if self.rules.strike(&asking, Fault::Terminate) {
                        return self.terminate().await;
                    }
                    self.maybe_swallow(&asking).await;
                }
                b'S' => locked(&self.asked).push_back(std::mem::take(&mut asking)),
                b'Q' => {
                    let (statement, _) = text(message.body())?;
                    if let Some(other) = self.rewrites.of(&statement) {
                        message = Message::new(b'Q', &[other.as_bytes(), b"\0"].concat());
                    }
                    self.maybe_swallow(&statement).await;
                    locked(&self.asked).push_back(statement);
                }
                _ => {}
            }
            self.pass(message.bytes.len(), Weather::DeafServer).await;
            let mut server = self.to_server.lock().await;
            server.write_all(&message.bytes).await?;
        }
    }

    /// Reads the first message; refuses encryption, which would hide the rest.
    async fn startup(&self, client: &mut BufReader<OwnedReadHalf>) -> io::Result<Vec<u8>> {
        const ENCRYPTIONS: [u32; 2] = [80_877_103, 80_877_104];
        loop {
            let (code, message) = startup(client).await?;
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
        let message = Message::new(b'E', fields.as_bytes());
        self.to_client.lock().await.write_all(&message.bytes).await
    }

    async fn forward_answers(&self, mut server: BufReader<OwnedReadHalf>) -> io::Result<()> {
        let (mut held, mut rows) = (Vec::new(), false);
        loop {
            let message = Message::read(&mut server).await?;
            held.extend_from_slice(&message.bytes);
            rows |= message.kind == b'D';
            let statement = locked(&self.asked).front().cloned().unwrap_or_default();
            let ready = message.kind == b'Z';
            if !ready && self.is_to_be_lost(&statement) {
                continue;
            }
            if ready && self.loses(&statement, rows) {
                return Ok(());
            }
            if ready && rows && self.rules.strike(&statement, Fault::LoseEnd) {
                let most = held.len() - message.bytes.len();
                return self.to_client.lock().await.write_all(&held[..most]).await;
            }
            if ready {
                locked(&self.asked).pop_front();
                rows = false;
            } else if held.len() < CHUNK && !server.buffer().is_empty() {
                continue;
            }
            self.pass(held.len(), Weather::DeafClient).await;
            let mut client = self.to_client.lock().await;
            if let Some(bytes) = self.rules.cut(held.len()) {
                return client.write_all(&held[..bytes]).await;
            }
            client.write_all(&held).await?;
            held.clear();
        }
    }

    fn is_to_be_lost(&self, statement: &str) -> bool {
        self.rules.has(statement, Fault::LoseReply) || self.rules.has(statement, Fault::LoseDone)
    }

    fn loses(&self, statement: &str, rows: bool) -> bool {
        (rows && self.rules.strike(statement, Fault::LoseReply))
            || self.rules.strike(statement, Fault::LoseDone)
    }

    /// Waits as long as the weather has bytes wait that go where `deaf` hears nothing.
    async fn pass(&self, bytes: usize, deaf: Weather) {
        let mut weather = self.weather.clone();
        let Ok(now) = weather.wait_for(|now| *now != deaf).await.map(|now| *now) else {
            return; // The proxy is gone: its connections end at once.
        };
        let wait = match now {
            Weather::Slow(wait) => wait,
            Weather::Throttled(most) => {
                let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
                Duration::from_secs(1) * bytes / most.max(1)
            }
            _ => return,
        };
        tokio::time::sleep(wait).await;
    }
}
