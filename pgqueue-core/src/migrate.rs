//! Migrations of pgqueue's own tables, in the current schema, with a ledger of their own (`pgqueue_migrations`).
//!
//! Every `up.sql` takes the migration lock, looks into the ledger and writes it, so that [`migrate`], [`migrate_async`],
//! Diesel's harness with [`MIGRATIONS`], psql, or all of them at once come to the same end.

use std::future::Future;

use diesel::connection::{LoadConnection, TransactionManager as _};
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel_async::{AsyncConnection, TransactionManager as _};
use diesel_migrations::{EmbeddedMigrations, embed_migrations};

use crate::error::{Error, ErrorKind, explain};
use crate::sql::Ledger;

/// The migrations for Diesel's own harness: `conn.run_pending_migrations(MIGRATIONS)`.
///
/// [`migrate`] is simpler and safe when several processes start at once; Diesel's harness makes its own ledger without a lock.
pub const MIGRATIONS: EmbeddedMigrations = embed_migrations!("migrations");

/// The same migrations as text, oldest first.
const SCRIPTS: [(&str, &str); 1] = [(
    "20261122000001",
    include_str!("../migrations/20261122000001_pgqueue_jobs/up.sql"),
)];

/// Whoever has waited for the lock must see what its holder committed. A transaction of the host is left as it is.
const READ_COMMITTED: &str = "SET TRANSACTION ISOLATION LEVEL READ COMMITTED";

/// The version that this crate needs.
pub(crate) fn newest() -> &'static str {
    SCRIPTS[SCRIPTS.len() - 1].0
}

/// Creates or updates the tables of pgqueue in the connection's current schema. Call it at every start.
///
/// Each migration runs in a transaction of its own under an advisory lock; what is applied already is skipped. Inside a
/// transaction of yours it becomes part of that. The same on an async connection: [`migrate_async`].
///
/// # Errors
/// [`ErrorKind::Migration`] when the tables of another schema on the `search_path` would be shadowed, or when the ledger
/// says "applied" but the tables are gone; [`ErrorKind::Database`] for everything that PostgreSQL refuses.
pub fn migrate<C: LoadConnection<Backend = Pg>>(conn: &mut C) -> Result<(), Error> {
    let outermost = C::TransactionManager::transaction_manager_status_mut(conn)
        .transaction_depth()
        .is_ok_and(|depth| depth.is_none());
    for (_, script) in SCRIPTS {
        conn.transaction(|conn| {
            if outermost {
                conn.batch_execute(READ_COMMITTED)?;
            }
            conn.batch_execute(script)
        })
        .map_err(failed)?;
    }
    let ledger: Vec<(String, bool)> = Ledger {}.load(conn).map_err(explain)?;
    check(&ledger)
}

/// Creates or updates the tables on an async connection, on any runtime. Effect and errors are those of [`migrate`].
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
            conn.transaction(async |conn| {
                if outermost {
                    conn.batch_execute(READ_COMMITTED).await?;
                }
                conn.batch_execute(script).await
            })
            .await
            .map_err(failed)?;
        }
        check_applied(conn).await
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

fn failed(error: diesel::result::Error) -> Error {
    let refused = matches!(&error, diesel::result::Error::DatabaseError(_, info) if info.message().starts_with("pgqueue cannot migrate"));
    if !refused {
        return Error::from(error);
    }
    let advice = match &error {
        diesel::result::Error::DatabaseError(_, info) => {
            info.hint().map(|hint| format!(". {hint}"))
        }
        _ => None,
    };
    Error::new(
        ErrorKind::Migration,
        format!("{error}{}", advice.unwrap_or_default()),
    )
    .caused(error)
}
