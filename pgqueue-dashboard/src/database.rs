//! The dashboard's own few connections, on a runtime of its own thread: a page can neither take the host's connections nor
//! be starved by its handlers. Every read is a read-only transaction with a time limit.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use diesel_async::{AsyncConnection as _, AsyncPgConnection, SimpleAsyncConnection as _};
use futures_util::future::BoxFuture;
use pgqueue_core::{Error, ErrorKind, Source};
use tokio::sync::Semaphore;

use crate::problem::Problem;

/// Most connections at once.
const CONNECTIONS: usize = 4;
/// How long a request waits for one of them.
const PATIENCE: Duration = Duration::from_secs(3);
/// How long the client waits for one piece of work: a little longer than the server's limits.
const WORK_LIMIT: Duration = Duration::from_secs(10);

/// The `statement_timeout` below.
const STATEMENT_LIMIT: Duration = Duration::from_secs(2);

/// What every session of the dashboard runs with. Plans are made anew each time: one kept from when the table was small
/// would scan it.
const SESSION: &str = "\
    SET application_name = 'pgqueue-dashboard';
    SET default_transaction_isolation = 'read committed';
    SET statement_timeout = '2s';
    SET lock_timeout = '1s';
    SET idle_in_transaction_session_timeout = '10s';
    SET plan_cache_mode = force_custom_plan;
    SET jit = off";

/// Work on a connection.
pub(crate) type Work<T> =
    Box<dyn for<'c> FnOnce(&'c mut AsyncPgConnection) -> BoxFuture<'c, Result<T, Error>> + Send>;

/// The connections without a say in how long they live.
#[derive(Clone)]
pub(crate) struct WeakDatabase(std::sync::Weak<Shared>);

impl WeakDatabase {
    pub(crate) fn upgrade(&self) -> Option<Database> {
        self.0.upgrade().map(Database)
    }
}

/// The connections; cheap to clone.
#[derive(Clone)]
pub(crate) struct Database(Arc<Shared>);

struct Shared {
    source: Source,
    read_only: bool,
    idle: Mutex<Vec<AsyncPgConnection>>,
    /// The last try to connect failed.
    is_away: AtomicBool,
    slots: Semaphore,
    runtime: Mutex<Option<tokio::runtime::Runtime>>,
    handle: tokio::runtime::Handle,
}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Database")
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        let runtime = self
            .runtime
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(runtime) = runtime.take() {
            runtime.shutdown_background(); // waiting here would block whoever drops the dashboard
        }
    }
}

impl Database {
    pub(crate) fn new(source: Source, read_only: bool) -> Result<Self, std::io::Error> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("pgqueue-dashboard")
            .enable_all()
            .build()?;
        Ok(Self(Arc::new(Shared {
            source,
            read_only,
            idle: Mutex::default(),
            is_away: AtomicBool::new(false),
            slots: Semaphore::new(CONNECTIONS),
            handle: runtime.handle().clone(),
            runtime: Mutex::new(Some(runtime)),
        })))
    }

    /// Runs work in a read-only transaction. A connection that turns out to be dead is replaced once.
    pub(crate) async fn read<T, F>(&self, work: F) -> Result<T, Problem>
    where
        T: Send + 'static,
        F: for<'c> FnOnce(&'c mut AsyncPgConnection) -> BoxFuture<'c, Result<T, Error>>
            + Send
            + 'static,
    {
        self.run(Box::new(|conn| {
            Box::pin(async move {
                conn.build_transaction()
                    .read_only()
                    .run(async |conn| work(conn).await)
                    .await
            })
        }))
        .await
    }

    /// Runs work that writes, in a transaction: all of it happens or nothing.
    pub(crate) async fn write<T, F>(&self, work: F) -> Result<T, Problem>
    where
        T: Send + 'static,
        F: for<'c> FnOnce(&'c mut AsyncPgConnection) -> BoxFuture<'c, Result<T, Error>>
            + Send
            + 'static,
    {
        self.run(Box::new(|conn| {
            Box::pin(async move { conn.transaction(async |conn| work(conn).await).await })
        }))
        .await
    }

    /// Tells how many connections are in use, and how many there may be.
    pub(crate) fn connections(&self) -> (usize, usize) {
        let free = self.0.slots.available_permits();
        (CONNECTIONS - free, CONNECTIONS)
    }

    pub(crate) fn downgrade(&self) -> WeakDatabase {
        WeakDatabase(Arc::downgrade(&self.0))
    }

    /// Starts something that lives as long as the dashboard.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.0.handle.spawn(task);
    }

    /// Runs what needs a runtime at hand, at once.
    pub(crate) fn enter<T>(&self, run: impl FnOnce() -> T) -> T {
        let _entered = self.0.handle.enter();
        run()
    }

    async fn run<T: Send + 'static>(&self, work: Work<T>) -> Result<T, Problem> {
        let shared = Arc::clone(&self.0);
        let task = self.0.handle.spawn(async move {
            let slot = tokio::time::timeout(PATIENCE, shared.slots.acquire());
            let Ok(Ok(_slot)) = slot.await else {
                return Err(Problem::busy());
            };
            let mut conn = shared.connection().await.inspect_err(|problem| {
                shared.note_outage(problem);
            })?;
            shared.note_answer();
            let started = Instant::now();
            match tokio::time::timeout(WORK_LIMIT, work(&mut conn)).await {
                Ok(Ok(answer)) => {
                    shared.give_back(conn); // after an error it may be in any state, and is closed
                    Ok(answer)
                }
                // Messages are translated and Diesel hides the SQLSTATE: what took as long as it may was too slow.
                Ok(Err(error))
                    if error.kind() == ErrorKind::Database
                        && started.elapsed() >= STATEMENT_LIMIT =>
                {
                    Err(Problem::slow())
                }
                Ok(Err(error)) => Err(Problem::from(error)),
                Err(_) => Err(Problem::slow()),
            }
        });
        task.await
            .unwrap_or_else(|error| Err(Problem::internal(&format!("a query panicked: {error}"))))
    }
}

impl Shared {
    /// Tells the log that the database is away, once.
    fn note_outage(&self, problem: &Problem) {
        if !self.is_away.swap(true, Ordering::SeqCst) {
            tracing::warn!(%problem, "the dashboard cannot reach its database; its pages say so until it can");
        }
    }

    fn note_answer(&self) {
        if self.is_away.swap(false, Ordering::SeqCst) {
            tracing::info!("the dashboard reaches its database again");
        }
    }

    /// Takes an idle connection that still answers, or makes one.
    async fn connection(&self) -> Result<AsyncPgConnection, Problem> {
        loop {
            let idle = self
                .idle
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .pop();
            let Some(mut conn) = idle else { break };
            let alive = tokio::time::timeout(Duration::from_secs(1), conn.batch_execute("")).await;
            if matches!(alive, Ok(Ok(()))) {
                return Ok(conn);
            }
        }
        let made = tokio::time::timeout(PATIENCE, self.connect()).await;
        match made {
            Ok(made) => made.map_err(Problem::from),
            Err(_) => Err(Problem::unreachable(
                "PostgreSQL did not accept a connection within 3 s",
            )),
        }
    }

    async fn connect(&self) -> Result<AsyncPgConnection, Error> {
        let mut conn = self.source.connect().await?;
        conn.batch_execute(SESSION).await?;
        let writes = if self.read_only { "on" } else { "off" };
        conn.batch_execute(&format!("SET default_transaction_read_only = {writes}"))
            .await?;
        Ok(conn)
    }

    fn give_back(&self, conn: AsyncPgConnection) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.push(conn);
    }
}
