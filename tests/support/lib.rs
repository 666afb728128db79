//! What the tests share: a database of their own each, connections of every flavour, and waiting on conditions.
//!
//! One private PostgreSQL a test binary, started when it is first wanted and gone with the process;
//! `TEST_DATABASE_URL` names another one to use instead.

#![expect(
    clippy::expect_used,
    clippy::missing_panics_doc,
    reason = "a test that cannot be set up panics"
)]

#[path = "../../benches/support/mod.rs"]
pub mod bench;
pub mod chaos;
pub mod log;
#[path = "../../benches/performance/mod.rs"]
pub mod performance;
pub mod process;
pub mod proxy;
pub mod running;
pub mod seed;
pub mod site;

use std::future::Future;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use diesel::prelude::*;
use diesel_async::pooled_connection::{AsyncDieselConnectionManager, bb8, deadpool};
use diesel_async::{AsyncConnection, AsyncPgConnection};
use local_postgres::{Database, LocalPostgres, Template};
use pgqueue_core::schema::pgqueue_jobs;
use pgqueue_core::{JobRow, JobState};

static SERVER: LazyLock<LocalPostgres> = LazyLock::new(|| {
    LocalPostgres::from_env_or_start("TEST_DATABASE_URL").expect("PostgreSQL starts")
});

static MIGRATED: LazyLock<Template> = LazyLock::new(|| {
    SERVER
        .template("migrated", |url| {
            pgqueue_core::migrate(&mut PgConnection::establish(url)?)?;
            Ok(())
        })
        .expect("the template is migrated")
});

/// Gives the server that all tests of this binary share.
#[must_use]
pub fn server() -> &'static LocalPostgres {
    &SERVER
}

/// How long a test waits for something that must happen. Only a failing test waits so long.
const PATIENCE: Duration = Duration::from_secs(60);

/// A database of one test, dropped with it.
#[derive(Debug)]
pub struct TestDatabase(Database);

impl TestDatabase {
    /// Makes a database that has pgqueue's tables.
    #[must_use]
    pub fn migrated() -> Self {
        Self(
            SERVER
                .database_from(&MIGRATED)
                .expect("a database is made from the template"),
        )
    }

    /// Makes a migrated database on a server of the test's own, for a test that stops it.
    #[must_use]
    pub fn migrated_on(server: &LocalPostgres) -> Self {
        let database = Self(server.database().expect("a database is made"));
        pgqueue_core::migrate(&mut database.sync()).expect("the database is migrated");
        database
    }

    /// Makes an empty database.
    #[must_use]
    pub fn empty() -> Self {
        Self(SERVER.database().expect("a database is made"))
    }

    /// Gives its URL.
    #[must_use]
    pub fn url(&self) -> &str {
        self.0.url()
    }

    /// Connects with sync Diesel.
    #[must_use]
    pub fn sync(&self) -> PgConnection {
        PgConnection::establish(self.url()).expect("sync Diesel connects")
    }

    /// Connects with diesel-async.
    pub async fn asynchronous(&self) -> AsyncPgConnection {
        AsyncPgConnection::establish(self.url())
            .await
            .expect("diesel-async connects")
    }

    /// Makes a deadpool pool.
    #[must_use]
    pub fn deadpool(&self, size: usize) -> deadpool::Pool<AsyncPgConnection> {
        let manager = AsyncDieselConnectionManager::new(self.url());
        deadpool::Pool::builder(manager)
            .max_size(size)
            .build()
            .expect("a pool is made")
    }

    /// Makes a bb8 pool.
    pub async fn bb8(&self) -> bb8::Pool<AsyncPgConnection> {
        let manager = AsyncDieselConnectionManager::new(self.url());
        bb8::Pool::builder()
            .max_size(5)
            .build(manager)
            .await
            .expect("a pool is made")
    }

    /// Runs SQL, several statements if need be.
    pub fn execute(&self, sql: &str) {
        use diesel::connection::SimpleConnection;
        self.sync().batch_execute(sql).expect("the statement runs");
    }

    /// Sets a default of this database, such as `lock_timeout = '1s'`, for sessions that start from now on.
    pub fn set_default(&self, setting: &str) {
        let setting = setting.replace('\'', "''").replace('%', "%%");
        self.execute(&format!(
            "DO $do$ BEGIN EXECUTE format('ALTER DATABASE %I SET {setting}', current_database()); END $do$"
        ));
    }

    /// Reads one number.
    #[must_use]
    pub fn number(&self, sql: &str) -> i64 {
        #[derive(QueryableByName)]
        struct Number {
            #[diesel(sql_type = diesel::sql_types::BigInt)]
            number: i64,
        }
        let query = diesel::sql_query(format!("SELECT ({sql})::bigint AS number"));
        query
            .get_result::<Number>(&mut self.sync())
            .expect("the query answers a number")
            .number
    }

    /// Reads a column of texts.
    #[must_use]
    pub fn texts(&self, sql: &str) -> Vec<String> {
        #[derive(QueryableByName)]
        struct Text {
            #[diesel(sql_type = diesel::sql_types::Text)]
            text: String,
        }
        let query = diesel::sql_query(format!("SELECT text FROM ({sql}) AS rows (text)"));
        let rows = query.load::<Text>(&mut self.sync());
        let rows = rows.expect("the query answers texts");
        rows.into_iter().map(|row| row.text).collect()
    }

    /// Reads all jobs, oldest first.
    #[must_use]
    pub fn jobs(&self) -> Vec<JobRow> {
        pgqueue_jobs::table
            .order(pgqueue_jobs::id)
            .select(JobRow::as_select())
            .load(&mut self.sync())
            .expect("the jobs are read")
    }

    /// Reads one job.
    #[must_use]
    pub fn job(&self, id: i64) -> JobRow {
        pgqueue_jobs::table
            .find(id)
            .select(JobRow::as_select())
            .first(&mut self.sync())
            .expect("the job is there")
    }

    /// Counts the jobs in a state.
    #[must_use]
    pub fn count(&self, state: JobState) -> i64 {
        pgqueue_jobs::table
            .filter(pgqueue_jobs::state.eq(state))
            .count()
            .get_result(&mut self.sync())
            .expect("the jobs are counted")
    }

    /// Waits until a job is in a state, and gives its row.
    pub async fn wait_for_state(&self, id: i64, state: JobState) -> JobRow {
        wait_until(&format!("job {id} is {state}"), async || {
            self.job(id).state == state
        })
        .await;
        self.job(id)
    }

    /// Waits until so many jobs are in a state.
    pub async fn wait_for_count(&self, state: JobState, count: i64) {
        wait_until(&format!("{count} jobs are {state}"), async || {
            self.count(state) == count
        })
        .await;
    }
}

/// Waits until a condition holds; looks again every few milliseconds, and gives up loudly.
///
/// # Panics
/// When it does not hold within a minute.
pub async fn wait_until<F: Future<Output = bool>>(what: &str, mut holds: impl FnMut() -> F) {
    let give_up = Instant::now() + PATIENCE;
    while !holds().await {
        assert!(
            Instant::now() < give_up,
            "waited {PATIENCE:?} in vain until {what}"
        );
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Reads a constant of the engine's session settings out of its source, for tests that run its statements by themselves.
///
/// # Panics
/// When `source.rs` has no such constant.
#[must_use]
pub fn engine_settings(name: &str) -> &'static str {
    const SOURCE: &str = include_str!("../../pgqueue-core/src/source.rs");
    let start = format!("const {name}: &str = \"");
    let (_, rest) = SOURCE
        .split_once(&start)
        .expect("the constant is in source.rs");
    let (text, _) = rest.split_once("\";").expect("the constant is a text");
    text.trim_start_matches('\\')
}

/// Shows the worker's logs in the output of a failing test when `RUST_LOG` is set.
pub fn logs() {
    let filter = tracing_subscriber::EnvFilter::from_default_env();
    // Set by another test of this binary already: fine.
    let _already = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_test_writer()
        .try_init();
}

#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;

#[cfg(doctest)]
#[doc = include_str!("../../docs/connections.md")]
struct Connections;

#[cfg(doctest)]
#[doc = include_str!("../../docs/handlers.md")]
struct Handlers;

#[cfg(doctest)]
#[doc = include_str!("../../docs/dashboard.md")]
struct DashboardGuide;

#[cfg(doctest)]
#[doc = include_str!("../../pgqueue-dashboard/README.md")]
struct DashboardReadme;
