//! Migrations of pgqueue's own tables, in the current schema, with a ledger of their own (`pgqueue_migrations`).
//!
//! Every `up.sql` takes the migration lock, looks into the ledger and writes it, so that [`migrate`], [`migrate_async`],
//! Diesel's harness with [`MIGRATIONS`], psql, or all of them at once come to the same end. The first two never block on
//! the lock unless the host's transaction is open: they try it, and if it is taken, they end their transaction and wait.

use std::future::Future;
use std::time::{Duration, Instant};

use diesel::connection::{LoadConnection, TransactionManager as _};
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::result::{DatabaseErrorKind, Error as DieselError};
use diesel_async::{AsyncConnection, TransactionManager as _};
use diesel_migrations::{EmbeddedMigrations, embed_migrations};

use crate::error::{Error, ErrorKind, explain};
use crate::sql::{Ledger, MigrationLock};
use crate::transaction;

/// The migrations for Diesel's own harness: `conn.run_pending_migrations(MIGRATIONS)`.
///
/// [`migrate`] is simpler and safe when several processes start at once; Diesel's harness makes its own ledger without a lock.
pub const MIGRATIONS: EmbeddedMigrations = embed_migrations!("migrations");

/// The same migrations as text, oldest first.
const SCRIPTS: [(&str, &str); 2] = [
    (
        "20261122000001",
        include_str!("../migrations/20261122000001_pgqueue_jobs/up.sql"),
    ),
    (
        "20261124000001",
        include_str!("../migrations/20261124000001_pgqueue_dashboard/up.sql"),
    ),
];

/// Whoever has waited for the lock must see what its holder committed. A transaction of the host is left as it is.
const READ_COMMITTED: &str = "SET TRANSACTION ISOLATION LEVEL READ COMMITTED";

/// The first pause before the lock is tried again; each is twice the one before. A migration takes about 100 ms.
const FIRST_PAUSE: Duration = Duration::from_millis(10);
/// The longest pause: one short statement each half second burdens nobody.
const LONGEST_PAUSE: Duration = Duration::from_millis(500);
/// Eight processes that start at once are through by then: whoever waits longer waits for something an operator should know.
const QUIET: Duration = Duration::from_secs(3);

/// The version that this crate needs.
pub(crate) fn newest() -> &'static str {
    SCRIPTS[SCRIPTS.len() - 1].0
}

/// Creates or updates the tables of pgqueue in the connection's current schema. Call it at every start; where the application's role
/// does not own the tables, as with `docs/grants.sql`, call it from the deployment, as their owner, instead.
///
/// Each migration runs in a transaction of its own under an advisory lock; what is applied already is skipped. While
/// another process migrates the same schema, this one tries again, without end, at pauses of 10 ms up to half a second;
/// after three seconds it logs, once, whom it waits for. No transaction is open in the pauses, so that a
/// `CREATE INDEX CONCURRENTLY` elsewhere in the database goes on.
///
/// Inside a transaction of yours it becomes part of that, waits for the lock in it, and keeps the lock until its end: keep
/// that transaction short. The same on an async connection: [`migrate_async`].
///
/// # Errors
/// [`ErrorKind::Migration`] when the tables of another schema on the `search_path` would be shadowed, or when ledger and
/// tables do not agree; [`ErrorKind::Serialization`] when your transaction is `REPEATABLE READ` or `SERIALIZABLE`
/// and another process has migrated since it began; [`ErrorKind::Database`] for everything that PostgreSQL refuses.
pub fn migrate<C: LoadConnection<Backend = Pg>>(conn: &mut C) -> Result<(), Error> {
    let outermost = C::TransactionManager::transaction_manager_status_mut(conn)
        .transaction_depth()
        .is_ok_and(|depth| depth.is_none());
    for (_, script) in SCRIPTS {
        if outermost {
            let mut turns = Turns::default();
            while let Turn::Taken { by } = try_script(conn, script).map_err(failed)? {
                std::thread::sleep(turns.pause(&by));
            }
        } else {
            conn.transaction(|conn| conn.batch_execute(script))
                .map_err(failed)?;
        }
    }
    let ledger: Vec<(String, bool)> = Ledger {}.load(conn).map_err(explain)?;
    check(&ledger)
}

/// Runs a migration if the lock is free. If not, the transaction ends here: one that waits for the lock holds a snapshot, for
/// which `CREATE INDEX CONCURRENTLY` waits, and if the lock's holder waits for that index, all three wait for ever.
fn try_script<C: LoadConnection<Backend = Pg>>(conn: &mut C, script: &str) -> QueryResult<Turn> {
    conn.transaction(|conn| {
        conn.batch_execute(READ_COMMITTED)?;
        let turn = Turn::of(MigrationLock {}.get_result(conn)?);
        if let Turn::Ours = turn {
            conn.batch_execute(script)?;
        }
        Ok(turn)
    })
}

/// Creates or updates the tables on an async connection, on any runtime of tokio. Effect and errors are those of [`migrate`].
///
/// # Errors
/// As [`migrate`].
///
/// # Cancellation safety
/// Dropped before it resolves, a migration is applied whole or not at all; call it again on a new connection.
#[expect(
    clippy::manual_async_fn,
    reason = "an `async fn` would not promise `Send`"
)]
pub fn migrate_async<C>(conn: &mut C) -> impl Future<Output = Result<(), Error>> + Send
where
    C: AsyncConnection<Backend = Pg>,
{
    async move {
        let outermost = C::TransactionManager::transaction_manager_status_mut(conn)
            .transaction_depth()
            .is_ok_and(|depth| depth.is_none());
        for (_, script) in SCRIPTS {
            if outermost {
                let mut turns = Turns::default();
                while let Turn::Taken { by } =
                    try_script_async(conn, script).await.map_err(failed)?
                {
                    tokio::time::sleep(turns.pause(&by)).await;
                }
            } else {
                transaction::begin(conn).await.map_err(failed)?;
                let applied = conn.batch_execute(script).await;
                transaction::end(conn, applied).await.map_err(failed)?;
            }
        }
        check_applied(conn).await
    }
}

/// [`try_script`] on an async connection.
async fn try_script_async<C>(conn: &mut C, script: &str) -> QueryResult<Turn>
where
    C: AsyncConnection<Backend = Pg>,
{
    transaction::begin(conn).await?;
    let tried = try_in_transaction(conn, script).await;
    transaction::end(conn, tried).await
}

async fn try_in_transaction<C>(conn: &mut C, script: &str) -> QueryResult<Turn>
where
    C: AsyncConnection<Backend = Pg>,
{
    conn.batch_execute(READ_COMMITTED).await?;
    let turn = Turn::of(diesel_async::RunQueryDsl::get_result(MigrationLock {}, conn).await?);
    if let Turn::Ours = turn {
        conn.batch_execute(script).await?;
    }
    Ok(turn)
}

/// What a try for the migration lock came to.
enum Turn {
    Ours,
    /// `by` names the lock and its holders.
    Taken {
        by: String,
    },
}

impl Turn {
    fn of((ours, schema, sessions): (bool, String, String)) -> Self {
        if ours {
            return Self::Ours;
        }
        let by = format!("schema {schema:?}, held by session {sessions}");
        Self::Taken { by }
    }
}

/// Who waits for the lock: since when, and how long next.
struct Turns {
    since: Instant,
    next: Duration,
    told: bool,
}

impl Default for Turns {
    fn default() -> Self {
        Self {
            since: Instant::now(),
            next: FIRST_PAUSE,
            told: false,
        }
    }
}

impl Turns {
    /// Gives the next pause; once, when there were many, tells whom we wait for.
    fn pause(&mut self, by: &str) -> Duration {
        if !self.told && self.since.elapsed() >= QUIET {
            tracing::warn!(
                "pgqueue waits for the migration lock of {by} (see pg_stat_activity): \
                 it goes on when that session's transaction ends"
            );
            self.told = true;
        }
        let pause = self.next;
        self.next = (2 * pause).min(LONGEST_PAUSE);
        pause
    }
}

/// Makes sure that every migration of this crate is applied in the schema that the connection uses.
pub(crate) async fn check_applied<C>(conn: &mut C) -> Result<(), Error>
where
    C: AsyncConnection<Backend = Pg>,
{
    let ledger: Vec<(String, bool)> = diesel_async::RunQueryDsl::load(Ledger {}, conn)
        .await
        .map_err(explain)?;
    check(&ledger)
}

/// Judges what a [`Ledger`] statement answered.
pub(crate) fn check(ledger: &[(String, bool)]) -> Result<(), Error> {
    let applied = |version: &str| ledger.iter().any(|(have, _)| have == version);
    if let Some((missing, _)) = SCRIPTS.iter().find(|(version, _)| !applied(version)) {
        return Err(Error::new(
            ErrorKind::Migration,
            format!(
                "migration {missing} of pgqueue is not applied in this connection's schema: \
                 call `pgqueue_core::migrate(&mut conn)` or `migrate_async` before the worker starts"
            ),
        ));
    }
    if ledger.iter().any(|(_, in_one_schema)| !in_one_schema) {
        return Err(Error::new(
            ErrorKind::Migration,
            "pgqueue_migrations says that the tables are there, but pgqueue_jobs is missing or in another schema: \
             check search_path; if the table was dropped by hand, run the migration's down.sql and `pgqueue_core::migrate` again",
        ));
    }
    Ok(())
}

/// Gives a refusal of our own scripts its kind and their advice; every other error passes unchanged.
fn failed(error: diesel::result::Error) -> Error {
    let DieselError::DatabaseError(kind, info) = &error else {
        return Error::from(error);
    };
    if !info.message().starts_with("pgqueue cannot migrate") {
        return Error::from(error);
    }
    let kind = match kind {
        DatabaseErrorKind::SerializationFailure => ErrorKind::Serialization,
        _ => ErrorKind::Migration,
    };
    let advice = info.hint().map(|hint| format!(". {hint}"));
    let message = format!("{error}{}", advice.unwrap_or_default());
    Error::new(kind, message).caused(error)
}
