//! How PostgreSQL treats the queue: who holds vacuum back, dead rows, sizes, indexes, locks, the plan of the claim, the
//! settings that matter. It only reads, never the jobs themselves, and says what to run where something can be done.
//!
//! ```no_run
//! use pgqueue_core::health;
//! # fn example(conn: &mut impl diesel::connection::LoadConnection<Backend = diesel::pg::Pg>) -> Result<(), pgqueue_core::Error> {
//! for finding in health::report(conn)?.findings {
//!     println!("{:?}: {}", finding.level, finding.sentence);
//! }
//! # Ok(()) }
//! ```

mod facts;
mod indexes;
mod judge;
mod plan;

use std::future::Future;

use chrono::{DateTime, Utc};
use diesel::connection::LoadConnection;
use diesel::pg::Pg;
use diesel::result::Error as DieselError;
use diesel_async::AsyncConnection;
use serde::Serialize;
use serde_json::Value;

pub use facts::{Holder, IndexHealth, LockWait, ServerFacts, TableHealth};

use crate::error::{Error, ErrorKind, explain};
use crate::migrate;
use crate::sql::Ledger;
use crate::sql::operators::{
    HealthHolders, HealthIds, HealthIndexes, HealthLocks, HealthServer, HealthTables,
};
use crate::transaction;

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// As it should be.
    Good,
    /// Look at it; the same for a part that could not be read.
    Warn,
    /// Act: it slows the queue down or will stop it.
    Bad,
}

impl Level {
    /// Gives its name: `good`, `warn` or `bad`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Warn => "warn",
            Self::Bad => "bad",
        }
    }
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Finding {
    /// What it is about, such as `vacuum` or `indexes`.
    pub part: &'static str,
    /// How bad it is.
    pub level: Level,
    /// What was found, in words.
    pub sentence: String,
    /// SQL that mends it; nothing of ours runs it.
    pub fix: Option<String>,
}

/// What was found, worst first, and the facts behind it. A part that could not be read is empty, and a finding says why.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Report {
    /// When it was made.
    pub at: DateTime<Utc>,
    /// The findings, worst first.
    pub findings: Vec<Finding>,
    /// Version, connections and settings.
    pub server: Option<ServerFacts>,
    /// What keeps dead rows from being removed, oldest first.
    pub holders: Vec<Holder>,
    /// Our tables, largest first.
    pub tables: Vec<TableHealth>,
    /// Our indexes, largest first.
    pub indexes: Vec<IndexHealth>,
    /// Who waits for locks on our tables, longest first.
    pub locks: Vec<LockWait>,
}

impl Report {
    /// Gives the worst level of all findings.
    #[must_use]
    pub fn level(&self) -> Level {
        let levels = self.findings.iter().map(|finding| finding.level);
        levels.max().unwrap_or(Level::Good)
    }
}

/// What was read, each part by itself.
struct Read {
    server: Result<Value, Error>,
    holders: Result<Value, Error>,
    tables: Result<Value, Error>,
    indexes: Result<Value, Error>,
    locks: Result<Value, Error>,
    ids: Result<Value, Error>,
    ledger: Result<Vec<(String, bool)>, Error>,
    plan: Result<Value, Error>,
}

/// Looks at the database, on a sync connection. Each part is read in a savepoint of its own, so that one which this role
/// may not read leaves the others alone; call it in a transaction or outside of one.
///
/// # Errors
/// Only when there is no connection: everything else becomes a finding.
pub fn report<C: LoadConnection<Backend = Pg>>(conn: &mut C) -> Result<Report, Error> {
    macro_rules! part {
        ($query:expr) => {
            conn.transaction(|conn| diesel::RunQueryDsl::get_result::<Value>($query, conn))
                .map_err(|error: DieselError| Error::from(error))
        };
    }
    let names = indexes::names();
    let read = Read {
        server: part!(HealthServer {}),
        holders: part!(HealthHolders {}),
        tables: part!(HealthTables {}),
        indexes: part!(HealthIndexes { names: &names }),
        locks: part!(HealthLocks {}),
        ids: part!(HealthIds {}),
        ledger: conn
            .transaction(|conn| diesel::RunQueryDsl::load(Ledger {}, conn))
            .map_err(|error: DieselError| Error::from(error)),
        plan: plan_of_the_claim(conn),
    };
    made(read)
}

/// Looks at the database, on an async connection. Effect and errors are those of [`report`].
///
/// # Errors
/// As [`report`].
///
/// # Cancellation safety
/// Dropped before it resolves, the connection is in the middle of a transaction: drop it, too.
#[expect(
    clippy::manual_async_fn,
    reason = "an `async fn` would not promise `Send`"
)]
pub fn report_async<C>(conn: &mut C) -> impl Future<Output = Result<Report, Error>> + Send
where
    C: AsyncConnection<Backend = Pg>,
{
    async move {
        macro_rules! in_transaction {
            ($read:expr) => {
                match transaction::begin(conn).await {
                    Ok(()) => {
                        let read = $read.await;
                        transaction::end(conn, read).await
                    }
                    Err(error) => Err(error),
                }
                .map_err(Error::from)
            };
        }
        macro_rules! part {
            ($query:expr) => {
                in_transaction!(diesel_async::RunQueryDsl::get_result::<Value>($query, conn))
            };
        }
        let names = indexes::names();
        let names = names.as_slice();
        let read = Read {
            server: part!(HealthServer {}),
            holders: part!(HealthHolders {}),
            tables: part!(HealthTables {}),
            indexes: part!(HealthIndexes { names }),
            locks: part!(HealthLocks {}),
            ids: part!(HealthIds {}),
            ledger: in_transaction!(diesel_async::RunQueryDsl::load(Ledger {}, conn)),
            plan: plan_of_the_claim_async(conn).await,
        };
        made(read)
    }
}

/// Explains the claim with the settings of a claim's session, which are undone with the savepoint.
fn plan_of_the_claim<C: LoadConnection<Backend = Pg>>(conn: &mut C) -> Result<Value, Error> {
    let mut plan = Err(DieselError::NotFound);
    let undone: Result<(), DieselError> = conn.transaction(|conn| {
        conn.batch_execute(plan::SETTINGS)?;
        plan = diesel::RunQueryDsl::get_result::<Value>(plan::ExplainClaim::new(), conn);
        Err(DieselError::RollbackTransaction)
    });
    plan::answered(plan, undone)
}

/// [`plan_of_the_claim`] on an async connection.
async fn plan_of_the_claim_async<C>(conn: &mut C) -> Result<Value, Error>
where
    C: AsyncConnection<Backend = Pg>,
{
    transaction::begin(conn).await?;
    let plan = explain_claim(conn).await;
    let undone = transaction::end(conn, Err::<(), _>(DieselError::RollbackTransaction)).await;
    plan::answered(plan, undone)
}

async fn explain_claim<C>(conn: &mut C) -> Result<Value, DieselError>
where
    C: AsyncConnection<Backend = Pg>,
{
    conn.batch_execute(plan::SETTINGS).await?;
    diesel_async::RunQueryDsl::get_result(plan::ExplainClaim::new(), conn).await
}

fn made(read: Read) -> Result<Report, Error> {
    match read.server {
        Err(error) if error.kind() == ErrorKind::Connection => Err(error),
        _ => Ok(judge::judge(read)),
    }
}

/// Makes sure that the database answers and has the tables that this crate needs, on a sync connection: for readiness checks.
///
/// # Errors
/// [`ErrorKind::Migration`] when tables are missing or old; errors of the database.
pub fn ready<C: LoadConnection<Backend = Pg>>(conn: &mut C) -> Result<(), Error> {
    let ledger: Vec<(String, bool)> =
        diesel::RunQueryDsl::load(Ledger {}, conn).map_err(explain)?;
    migrate::check(&ledger)
}

/// Makes sure that the database answers and has our tables, on an async connection. Effect and errors are those of [`ready`].
///
/// # Errors
/// As [`ready`].
pub async fn ready_async<C: AsyncConnection<Backend = Pg>>(conn: &mut C) -> Result<(), Error> {
    migrate::check_applied(conn).await
}
