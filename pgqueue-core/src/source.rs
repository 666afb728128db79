//! Where connections come from: the host's pool, or a URL.
//!
//! The engine's own connections are made by the pool's manager but never counted against the pool, so that handlers
//! that take every pooled connection cannot starve it; and they inherit the manager's TLS and set-up.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::time::Duration;

use diesel::QueryResult;
use diesel_async::methods::LoadQuery;
use diesel_async::pooled_connection::{
    AsyncDieselConnectionManager, ManagerConfig, PoolableConnection, bb8, deadpool,
};
use diesel_async::{AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection};
use futures_util::future::BoxFuture;

use crate::error::{Error, ErrorKind, with_sources};
use crate::server::{Server, connected};

/// Where a worker gets its connections: a deadpool or bb8 pool of diesel-async, or a URL.
///
/// From a URL the worker builds a pool for its handlers by itself, of at most 10 connections and without TLS. For TLS bring a pool whose
/// `ManagerConfig::custom_setup` makes the connection with `AsyncPgConnection::try_from_client_and_connection`.
#[derive(Clone)]
pub struct Source(Origin);

#[derive(Clone)]
enum Origin {
    Deadpool(deadpool::Pool<AsyncPgConnection>),
    Bb8(bb8::Pool<AsyncPgConnection>),
    Url(String),
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Origin::Deadpool(_) => "Source(deadpool)",
            Origin::Bb8(_) => "Source(bb8)",
            Origin::Url(_) => "Source(url)", // the URL may hold a password
        })
    }
}

impl From<deadpool::Pool<AsyncPgConnection>> for Source {
    fn from(pool: deadpool::Pool<AsyncPgConnection>) -> Self {
        Self(Origin::Deadpool(pool))
    }
}

impl From<bb8::Pool<AsyncPgConnection>> for Source {
    fn from(pool: bb8::Pool<AsyncPgConnection>) -> Self {
        Self(Origin::Bb8(pool))
    }
}

impl From<&str> for Source {
    fn from(url: &str) -> Self {
        Self(Origin::Url(url.to_owned()))
    }
}

impl From<String> for Source {
    fn from(url: String) -> Self {
        Self(Origin::Url(url))
    }
}

impl Source {
    /// Makes a connection of its own, which the pool does not count, by the pool's manager: with its TLS and set-up. The
    /// runtime that calls drives it.
    ///
    /// # Errors
    /// [`ErrorKind::Connection`] when the server cannot be reached or refuses; [`ErrorKind::Configuration`] for a URL that
    /// is none.
    pub async fn connect(&self) -> Result<AsyncPgConnection, Error> {
        Connections::of(self.clone(), 1)?.dedicated().await
    }
}

/// The worker's two kinds of connection: pooled ones for handlers, and ones of its own.
#[derive(Clone)]
pub(crate) struct Connections {
    pool: Pool,
    server: Arc<Server>,
}

#[derive(Clone)]
enum Pool {
    Deadpool(deadpool::Pool<AsyncPgConnection>),
    Bb8(bb8::Pool<AsyncPgConnection>),
}

impl Connections {
    /// Takes the source; for a URL, makes a pool of `size` connections, each opened when it is first wanted.
    pub(crate) fn of(source: Source, size: usize) -> Result<Self, Error> {
        let (pool, server) = match source.0 {
            Origin::Deadpool(pool) => (Pool::Deadpool(pool), Server::of_pool()),
            Origin::Bb8(pool) => (Pool::Bb8(pool), Server::of_pool()),
            Origin::Url(url) => {
                let server = Server::of_url(&url)?;
                let mut config = ManagerConfig::default();
                config.custom_setup = Box::new(|url| Box::pin(connected(url.to_owned())));
                let manager = AsyncDieselConnectionManager::new_with_config(url, config);
                let pool = deadpool::Pool::builder(manager)
                    .max_size(size.max(1))
                    .build()
                    .map_err(|cause| {
                        Error::configuration("cannot make a pool from the database URL")
                            .caused(cause)
                    })?;
                (Pool::Deadpool(pool), server)
            }
        };
        let server = Arc::new(server);
        Ok(Self { pool, server })
    }

    /// Takes a connection from the pool, waiting for a free one.
    pub(crate) async fn pooled(&self) -> Result<PooledConnection, Error> {
        let taken = match &self.pool {
            Pool::Deadpool(pool) => match pool.get().await {
                Ok(conn) => Ok(Pooled::Deadpool(Some(conn))),
                Err(deadpool::PoolError::Backend(cause)) => Err(self.server.unusable(&cause)),
                Err(cause) => Err(none_free(&cause)),
            },
            Pool::Bb8(pool) => match pool.get_owned().await {
                Ok(conn) => Ok(Pooled::Bb8(conn)),
                Err(bb8::RunError::User(cause)) => Err(self.server.unusable(&cause)),
                Err(cause) => Err(none_free(&cause)),
            },
        };
        taken.map(PooledConnection)
    }

    /// Makes a connection that the pool does not know of, driven by the runtime that calls.
    pub(crate) async fn dedicated(&self) -> Result<AsyncPgConnection, Error> {
        use ::deadpool::managed::Manager;
        let made = match &self.pool {
            Pool::Deadpool(pool) => pool.manager().create().await,
            Pool::Bb8(pool) => pool.dedicated_connection().await,
        };
        made.map_err(|cause| self.server.unusable(&cause))
    }

    /// As [`dedicated`](Self::dedicated), in bounded time.
    pub(crate) async fn bare(&self) -> Result<AsyncPgConnection, Error> {
        let made = tokio::time::timeout(CONNECT_LIMIT, self.dedicated()).await;
        made.map_err(|_| timed_out(self.server.name(), "accept a connection", CONNECT_LIMIT))?
    }

    pub(crate) fn server(&self) -> &Server {
        &self.server
    }
}

/// Tells that the pool itself had no connection to give.
fn none_free(cause: &dyn std::error::Error) -> Error {
    let cause = with_sources(cause);
    Error::new(
        ErrorKind::Connection,
        format!(
            "the connection pool gave no connection: {cause}; check that PostgreSQL runs, or make the pool larger"
        ),
    )
}

/// A connection from the connection pool; derefs to [`AsyncPgConnection`] and goes back to the pool when dropped.
pub struct PooledConnection(Pooled);

enum Pooled {
    /// `None` only while it is dropped.
    Deadpool(Option<deadpool::Object<AsyncPgConnection>>),
    Bb8(bb8::PooledConnection<'static, AsyncPgConnection>),
}

impl fmt::Debug for PooledConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PooledConnection")
    }
}

impl Deref for PooledConnection {
    type Target = AsyncPgConnection;

    fn deref(&self) -> &AsyncPgConnection {
        match &self.0 {
            Pooled::Deadpool(conn) => conn.as_ref().expect("invariant: taken only by drop"),
            Pooled::Bb8(conn) => conn,
        }
    }
}

impl DerefMut for PooledConnection {
    fn deref_mut(&mut self) -> &mut AsyncPgConnection {
        match &mut self.0 {
            Pooled::Deadpool(conn) => conn.as_mut().expect("invariant: taken only by drop"),
            Pooled::Bb8(conn) => conn,
        }
    }
}

impl Drop for PooledConnection {
    /// A handler that was aborted inside a transaction leaves it open, with its locks. bb8 looks when a connection comes
    /// back; deadpool only when it is next taken, which may be never: such a connection is closed here.
    fn drop(&mut self) {
        if let Pooled::Deadpool(conn) = &mut self.0
            && let Some(mut conn) = conn.take()
            && conn.is_broken()
        {
            drop(deadpool::Object::take(conn));
        }
    }
}

/// What every engine session runs with. Statements are short and their plans must stay on the indexes: made while the
/// table is empty and kept, a plan is a sequential scan, or begins a join with all jobs. Planning anew costs 0.1 ms.
const SESSION: &str = "\
    SET default_transaction_isolation = 'read committed';
    SET default_transaction_read_only = off;
    SET idle_in_transaction_session_timeout = '10s';
    SET statement_timeout = '30s';
    SET lock_timeout = '1s';
    SET jit = off;
    SET plan_cache_mode = force_custom_plan;
    SET enable_seqscan = off;
    SET enable_bitmapscan = off;
    SET enable_hashjoin = off;
    SET enable_mergejoin = off";

/// Only for claims: there the index gives the order, and a sort would mean that the wrong one was chosen.
/// Elsewhere it would make `ORDER BY … LIMIT` walk the primary key. So there is only one plan, and it is kept.
const CLAIM_SESSION: &str = "\
    SET enable_sort = off;
    SET plan_cache_mode = force_generic_plan";

/// Lets the server notice a dead client within seconds and drop its locks; not every platform has all of them.
const KEEPALIVE_SESSION: &str = "\
    SET tcp_keepalives_idle = 10;
    SET tcp_keepalives_interval = 5;
    SET tcp_keepalives_count = 3;
    SET client_connection_check_interval = '5s'";

/// How long the client waits for one statement: a little longer than the server's `statement_timeout`.
const STATEMENT_LIMIT: Duration = Duration::from_secs(35);
/// How long making a connection may take.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);

/// What an engine connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    Claim,
    Other,
}

/// An engine connection that makes itself anew after any failure.
///
/// After an error or a timeout the connection is dropped, never reused: a query may still be in flight on it.
pub(crate) struct Link {
    connections: Connections,
    purpose: Purpose,
    conn: Option<AsyncPgConnection>,
    /// How long connecting and one statement may take together, for a caller that must be back in time.
    together: Option<Duration>,
}

impl Link {
    pub(crate) fn new(connections: Connections, purpose: Purpose) -> Self {
        Self {
            connections,
            purpose,
            conn: None,
            together: None,
        }
    }

    /// Bounds each [`load`](Self::load) as a whole, with the connection that it may have to make.
    pub(crate) fn within(mut self, limit: Duration) -> Self {
        self.together = Some(limit);
        self
    }

    /// Runs one statement, connecting first if need be.
    ///
    /// The future is boxed, which lets the compiler see that the loops that call it are `Send`.
    pub(crate) fn load<'a, Q, U>(&'a mut self, query: Q) -> BoxFuture<'a, Result<Vec<U>, Error>>
    where
        Q: LoadQuery<'a, AsyncPgConnection, U> + Send + 'a,
        U: Send + 'a,
    {
        Box::pin(async move {
            let answer = match self.together {
                None => self.load_or_blame(query).await,
                Some(limit) => tokio::time::timeout(limit, self.load_or_blame(query))
                    .await
                    .unwrap_or_else(|_| Err(timed_out("PostgreSQL", "answer a statement", limit))),
            };
            if answer.is_err() {
                self.conn = None;
            }
            answer
        })
    }

    async fn load_or_blame<'a, Q, U>(&mut self, query: Q) -> Result<Vec<U>, Error>
    where
        Q: LoadQuery<'a, AsyncPgConnection, U> + Send + 'a,
        U: Send,
    {
        match self.try_load(query).await {
            Ok(rows) => Ok(rows),
            Err(error) => Err(self.blamed(error).await),
        }
    }

    /// Tells a refused statement from a session that was ended under it, by a restart or an administrator: diesel-async
    /// answers both alike, but only one of them leaves a connection that still works. The statement may be tried again then.
    async fn blamed(&mut self, error: Error) -> Error {
        let Some(conn) = self
            .conn
            .as_mut()
            .filter(|_| error.kind() == ErrorKind::Database)
        else {
            return error;
        };
        match answered(conn.batch_execute("SELECT")).await {
            Ok(()) => error,
            _ => Error::new(
                ErrorKind::Connection,
                format!("{error}; the connection to PostgreSQL is gone, a new one will be made"),
            )
            .caused(error),
        }
    }

    async fn try_load<'a, Q, U>(&mut self, query: Q) -> Result<Vec<U>, Error>
    where
        Q: LoadQuery<'a, AsyncPgConnection, U> + Send + 'a,
        U: Send,
    {
        let conn = self.connection().await?;
        answered(query.load(conn)).await
    }

    /// Gives the connection, making it if there is none.
    pub(crate) async fn connection(&mut self) -> Result<&mut AsyncPgConnection, Error> {
        if self.conn.is_none() {
            let limit = CONNECT_LIMIT;
            let made = connect(&self.connections, self.purpose);
            let made = tokio::time::timeout(limit, made).await;
            let server = &self.connections.server.name();
            self.conn = Some(made.map_err(|_| timed_out(server, "accept a connection", limit))??);
        }
        Ok(self.conn.as_mut().expect("invariant: made above"))
    }

    pub(crate) fn disconnect(&mut self) {
        self.conn = None;
    }
}

async fn connect(connections: &Connections, purpose: Purpose) -> Result<AsyncPgConnection, Error> {
    let mut conn = connections.dedicated().await?;
    conn.batch_execute(SESSION).await?;
    if purpose == Purpose::Claim {
        conn.batch_execute(CLAIM_SESSION).await?;
    }
    let keepalive: QueryResult<()> = conn.batch_execute(KEEPALIVE_SESSION).await;
    if let Err(error) = keepalive {
        tracing::debug!(%error, "this server has no keepalive settings for sessions");
    }
    Ok(conn)
}

/// Bounds what an engine connection is asked, as every statement is. Whoever gets an error drops the connection.
pub(crate) async fn answered<T>(asked: impl Future<Output = QueryResult<T>>) -> Result<T, Error> {
    let answer = tokio::time::timeout(STATEMENT_LIMIT, asked).await;
    Ok(answer.map_err(|_| timed_out("PostgreSQL", "answer a statement", STATEMENT_LIMIT))??)
}

fn timed_out(server: &str, what: &str, limit: Duration) -> Error {
    Error::new(
        ErrorKind::Connection,
        format!("{server} did not {what} within {limit:?}; a new connection will be made"),
    )
}
