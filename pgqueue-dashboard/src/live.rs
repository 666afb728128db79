//! Keeps pages up to date: one snapshot of the queues that all visitors share, and streams that tell browsers when to look
//! at it again. Fifty open pages cost the database what one does, and none costs it nothing.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use actix_web::HttpResponse;
use actix_web::web::Bytes;
use chrono::{DateTime, Utc};
use futures_util::FutureExt as _;
use futures_util::stream;
use pgqueue_core::stats::{self, CauseStats, QueueStats};
use tokio::sync::{Mutex, watch};

use crate::database::Database;
use crate::problem::Problem;
use crate::shared;
use crate::visit::Visit;

/// How long a snapshot is good for: the shortest interval at which pages refresh.
const FRESH: Duration = Duration::from_millis(900);
/// How long the causes of death are good for; they cost more.
const CAUSES_FRESH: Duration = Duration::from_secs(2);
/// Most causes that are read at once.
pub(crate) const CAUSES: usize = 500;
/// Most streams at once; further browsers poll.
const STREAMS: usize = 64;
/// A stream ends after so long, and the browser opens it again.
const STREAM_LIFE: Duration = Duration::from_secs(300);
/// A comment goes out so often, so that proxies keep the stream open.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// What all visitors see of the queues, read at one time.
#[derive(Debug)]
pub(crate) struct Snapshot {
    pub(crate) at: DateTime<Utc>,
    pub(crate) queues: Vec<QueueStats>,
}

/// The snapshot and the streams.
#[derive(Clone)]
pub(crate) struct Live(Arc<Shared>);

struct Shared {
    database: Database,
    latest: Mutex<Option<(Instant, Arc<Snapshot>)>>,
    causes: shared::Shared<Vec<CauseStats>>,
    streams: AtomicUsize,
    ends: watch::Sender<bool>,
    listens: AtomicBool,
}

impl fmt::Debug for Live {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Live")
    }
}

impl Live {
    pub(crate) fn new(database: Database) -> Self {
        Self(Arc::new(Shared {
            database,
            latest: Mutex::default(),
            causes: shared::Shared::new(CAUSES_FRESH),
            streams: AtomicUsize::new(0),
            ends: watch::channel(false).0,
            listens: AtomicBool::new(false),
        }))
    }

    /// Ends all streams, for good.
    pub(crate) fn shutdown(&self) {
        self.0.ends.send_replace(true);
    }

    /// Gives the snapshot, reading it anew if it is older than a second. Whoever comes meanwhile waits for the same one.
    pub(crate) async fn snapshot(&self) -> Result<Arc<Snapshot>, Problem> {
        let mut latest = self.0.latest.lock().await;
        if let Some((at, snapshot)) = latest.as_ref().filter(|(at, _)| at.elapsed() < FRESH) {
            let _ = at;
            return Ok(Arc::clone(snapshot));
        }
        let queues = self
            .0
            .database
            .read(|conn| stats::queues_async(conn).boxed())
            .await?;
        let snapshot = Arc::new(Snapshot {
            at: Utc::now(),
            queues,
        });
        *latest = Some((Instant::now(), Arc::clone(&snapshot)));
        Ok(snapshot)
    }

    /// Gives the causes of death, the one seen last first, as of at most two seconds ago.
    pub(crate) async fn causes(&self) -> Result<Arc<Vec<CauseStats>>, Problem> {
        let limit = i64::try_from(CAUSES).unwrap_or(i64::MAX);
        let read = || {
            let database = &self.0.database;
            database.read(move |conn| stats::causes_async(conn, limit).boxed())
        };
        self.0.causes.get(read).await
    }

    /// Ends the streams when the process is asked to end: a server that waits for its connections would wait for them.
    fn listen_for_signals(&self) {
        if self.0.listens.swap(true, Ordering::SeqCst) {
            return;
        }
        let live = Arc::downgrade(&self.0);
        self.0.database.spawn(async move {
            asked_to_end().await;
            if let Some(shared) = live.upgrade() {
                shared.ends.send_replace(true);
            }
        });
    }
}

#[cfg(unix)]
async fn asked_to_end() {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut interrupt), Ok(mut terminate)) = (
        signal(SignalKind::interrupt()),
        signal(SignalKind::terminate()),
    ) else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}

#[cfg(not(unix))]
async fn asked_to_end() {
    if tokio::signal::ctrl_c().await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// Counts a stream as long as it lives.
struct Open(Arc<Shared>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.streams.fetch_sub(1, Ordering::SeqCst);
    }
}

struct Stream {
    _open: Open,
    ends: watch::Receiver<bool>,
    interval: Duration,
    until: Instant,
    version: u64,
}

/// `GET /events`: says at the visitor's interval that there may be something new; the page then fetches itself.
pub(crate) async fn events(visit: Visit) -> Result<HttpResponse, Problem> {
    let live = &visit.dashboard.inner.live;
    let seconds = visit.preferences.refresh_seconds;
    if *live.0.ends.borrow() || seconds == 0 {
        return Ok(HttpResponse::NoContent().finish()); // tells the browser not to come again
    }
    if live.0.streams.fetch_add(1, Ordering::SeqCst) >= STREAMS {
        live.0.streams.fetch_sub(1, Ordering::SeqCst);
        return Err(Problem::busy());
    }
    live.listen_for_signals();
    let stream = Stream {
        _open: Open(Arc::clone(&live.0)),
        ends: live.0.ends.subscribe(),
        interval: Duration::from_secs(u64::from(seconds)),
        until: Instant::now() + STREAM_LIFE,
        version: 0,
    };
    let body = stream::unfold(stream, |stream| async move { next_event(stream).await });
    Ok(HttpResponse::Ok()
        .content_type("text/event-stream")
        .insert_header(("content-encoding", "identity"))
        .streaming(body))
}

async fn next_event(mut stream: Stream) -> Option<(Result<Bytes, actix_web::Error>, Stream)> {
    stream.version += 1;
    if stream.version == 1 {
        return Some((Ok(Bytes::from_static(b"retry: 3000\n\n")), stream));
    }
    if Instant::now() >= stream.until {
        return None;
    }
    let quiet = stream.interval > HEARTBEAT && !stream.version.is_multiple_of(4);
    let wait = if quiet { HEARTBEAT } else { stream.interval };
    let goes_on = tokio::select! {
        _ = stream.ends.wait_for(|ends| *ends) => false,
        () = tokio::time::sleep(wait) => true,
    };
    let text = if quiet {
        ":\n\n".to_owned()
    } else {
        format!("event: tick\ndata: {}\n\n", stream.version)
    };
    goes_on.then(|| (Ok(Bytes::from(text)), stream))
}
