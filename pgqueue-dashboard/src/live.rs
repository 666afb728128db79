//! Keeps pages up to date: one snapshot of the queues that all visitors share, and streams that tell browsers when to look
//! at it again. Fifty open pages cost the database what one does, and none costs it nothing.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Once};
use std::time::{Duration, Instant};

use actix_web::HttpResponse;
use actix_web::web::Bytes;
use chrono::{DateTime, Utc};
use diesel_async::AsyncPgConnection;
use futures_util::FutureExt as _;
use futures_util::stream;
use pgqueue_core::admin::{self, Operation};
use pgqueue_core::stats::{self, CauseStats, KindStats, Scope, Timeline};
use pgqueue_core::{Error, JobState};
use tokio::sync::watch;

use crate::cached::Cached;
use crate::database::Database;
use crate::problem::Problem;
use crate::shared::Shared;
pub(crate) use crate::snapshot::Snapshot;
use crate::snapshot::Tally;
use crate::span::Span;
use crate::visit::Visit;

/// How long a snapshot is good for: the shortest interval at which pages refresh.
const FRESH: Duration = Duration::from_millis(900);
/// How long the tally in it is good for: it costs more, and workers store what ran no more often.
const TALLY_FRESH: Duration = Duration::from_secs(5);
/// How long the causes of death are good for, or longer where there are many: they cost more still.
const CAUSES_FRESH: Duration = Duration::from_secs(10);
/// Most causes that are read at once.
pub(crate) const CAUSES: usize = 500;
/// Most bulk operations of the list of those at work.
const OPERATIONS: i64 = 10;
/// How old what is shown beside other pages may be.
const PEEK: Duration = Duration::from_secs(30);
/// Most streams at once; further browsers poll.
const STREAMS: usize = 64;
/// A stream ends after so long, and the browser opens it again.
const STREAM_LIFE: Duration = Duration::from_secs(300);
/// A comment goes out so often, so that proxies keep the stream open.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// The causes of death, the one seen last first.
#[derive(Debug)]
pub(crate) struct Causes {
    pub(crate) at: DateTime<Utc>,
    pub(crate) all: Vec<CauseStats>,
}

/// How long an exact count is good for: it may cost a second.
const COUNT_FRESH: Duration = Duration::from_secs(60);

/// The snapshot and the streams.
#[derive(Clone)]
pub(crate) struct Live(Arc<State>);

struct State {
    database: Database,
    snapshot: Shared<Snapshot>,
    tally: Shared<Tally>,
    causes: Shared<Causes>,
    operations: Shared<Vec<Operation>>,
    timelines: Cached<(Span, Scope), Timeline>,
    kinds: Cached<Span, Vec<KindStats>>,
    counts: Cached<JobState, (DateTime<Utc>, i64)>,
    streams: AtomicUsize,
    ends: watch::Sender<bool>,
    listens: Once,
}

impl fmt::Debug for Live {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Live")
    }
}

impl Live {
    pub(crate) fn new(database: Database) -> Self {
        Self(Arc::new(State {
            database,
            snapshot: Shared::new(FRESH),
            tally: Shared::new(TALLY_FRESH),
            causes: Shared::new(CAUSES_FRESH).sparing(),
            operations: Shared::new(FRESH),
            timelines: Cached::default(),
            kinds: Cached::default(),
            counts: Cached::default(),
            streams: AtomicUsize::new(0),
            ends: watch::channel(false).0,
            listens: Once::new(),
        }))
    }

    /// Ends all streams, for good.
    pub(crate) fn shutdown(&self) {
        self.0.ends.send_replace(true);
    }

    /// Is true once the streams were ended.
    pub(crate) fn has_ended(&self) -> bool {
        *self.0.ends.borrow()
    }

    /// Gives the snapshot, reading it anew if it is older than a second. Whoever comes meanwhile waits for the same one.
    pub(crate) async fn snapshot(&self) -> Result<Arc<Snapshot>, Problem> {
        let database = &self.0.database;
        let read = async || {
            let tally = || database.read(|conn| Tally::read(conn).boxed());
            let tally = self.0.tally.get(tally).await?;
            let read = database
                .read(move |conn| async move { Snapshot::read(conn, &tally).await }.boxed());
            read.await
        };
        self.0.snapshot.get(read).await
    }

    /// Gives the causes of death, the one seen last first, as of some seconds ago.
    pub(crate) async fn causes(&self) -> Result<Arc<Causes>, Problem> {
        let database = &self.0.database;
        let read = || database.read(|conn| read_causes(conn).boxed());
        self.0.causes.get(read).await
    }

    /// Gives the bulk operations that are at work, wait for somebody, or failed within a day, the newest first.
    pub(crate) async fn operations_at_work(&self) -> Result<Arc<Vec<Operation>>, Problem> {
        let read = || {
            let database = &self.0.database;
            database.read(|conn| admin::operations_at_work_async(conn, OPERATIONS).boxed())
        };
        self.0.operations.get(read).await
    }

    /// Has the next visitor read anew: somebody changed something.
    pub(crate) fn forget(&self) {
        self.0.tally.forget();
        self.0.causes.forget();
        self.0.operations.forget();
        self.0.counts.forget();
        self.0.snapshot.forget();
    }

    /// Gives the latest snapshot without reading anything; none if it is old or being read.
    pub(crate) fn latest(&self) -> Option<Arc<Snapshot>> {
        self.0.snapshot.peek(PEEK)
    }

    /// Gives what was counted over a span up to now, step by step.
    pub(crate) async fn timeline(
        &self,
        span: Span,
        scope: Scope,
    ) -> Result<Arc<Timeline>, Problem> {
        let asked = scope.clone();
        let read = self.0.database.read(move |conn| {
            async move {
                let to = Utc::now();
                stats::timeline_async(conn, to - span.length(), to, span.step(), &asked).await
            }
            .boxed()
        });
        self.0
            .timelines
            .get((span, scope), span.fresh(), read)
            .await
    }

    /// Gives what was counted over a span up to now, by queue and kind.
    pub(crate) async fn kinds(&self, span: Span) -> Result<Arc<Vec<KindStats>>, Problem> {
        let read = self.0.database.read(move |conn| {
            async move {
                let to = Utc::now();
                stats::kinds_async(conn, to - span.length(), to).await
            }
            .boxed()
        });
        self.0.kinds.get(span, span.fresh(), read).await
    }

    /// Counts all jobs of a state, and tells when; whoever asks again within a minute gets the same number.
    pub(crate) async fn count(&self, state: JobState) -> Result<(DateTime<Utc>, i64), Problem> {
        let read = self.0.database.read(move |conn| {
            async move { Ok((Utc::now(), stats::count_state_async(conn, state).await?)) }.boxed()
        });
        Ok(*self.0.counts.get(state, COUNT_FRESH, read).await?)
    }

    /// Ends the streams when the process is asked to end: a server that waits for its connections would wait for them.
    ///
    /// On Unix a signal that comes after this has returned is not missed.
    pub(crate) fn listen_for_signals(&self) {
        self.0.listens.call_once(|| {
            let live = Arc::downgrade(&self.0);
            let asked = self.0.database.enter(asked_to_end);
            self.0.database.spawn(async move {
                asked.await;
                if let Some(shared) = live.upgrade() {
                    shared.ends.send_replace(true);
                }
            });
        });
    }
}

/// Reads the causes of death.
async fn read_causes(conn: &mut AsyncPgConnection) -> Result<Causes, Error> {
    let limit = i64::try_from(CAUSES).unwrap_or(i64::MAX);
    Ok(Causes {
        at: Utc::now(),
        all: stats::causes_async(conn, limit).await?,
    })
}

/// Listens for signals at once, and gives when one has come.
#[cfg(unix)]
fn asked_to_end() -> impl Future<Output = ()> {
    use tokio::signal::unix::{SignalKind, signal};
    let signals = (
        signal(SignalKind::interrupt()),
        signal(SignalKind::terminate()),
    );
    async move {
        let (Ok(mut interrupt), Ok(mut terminate)) = signals else {
            tracing::warn!(
                "the dashboard cannot listen for signals: call `Dashboard::shutdown` when the server is to end"
            );
            return std::future::pending().await;
        };
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    }
}

#[cfg(not(unix))]
async fn asked_to_end() {
    if tokio::signal::ctrl_c().await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// Counts a stream as long as it lives.
struct Open(Arc<State>);

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
    if live.has_ended() || seconds == 0 {
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

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use rustix::process::{Signal, getpid, kill_process};
    use std::sync::mpsc;

    /// The signal would end this process if nobody listened yet.
    #[tokio::test]
    async fn a_signal_that_comes_while_the_dashboards_thread_is_busy_is_not_missed() {
        let source = pgqueue_core::Source::from("postgres://127.0.0.1:1/none");
        let database = Database::new(source, true).unwrap();
        let live = Live::new(database.clone());
        let (free, busy) = mpsc::channel::<()>();
        database.spawn(async move { busy.recv().unwrap_or(()) });

        live.listen_for_signals();
        kill_process(getpid(), Signal::TERM).unwrap();
        drop(free);

        let mut ends = live.0.ends.subscribe();
        ends.wait_for(|ends| *ends).await.unwrap();
    }
}
