//! The shop's database: the one that `DATABASE_URL` names, or a private one that goes with the shop.

use std::env;

use anyhow::{Context as _, bail};
use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types::{Bool, Timestamptz};
use diesel_async::AsyncPgConnection;
use diesel_async::pooled_connection::AsyncDieselConnectionManager;
use diesel_async::pooled_connection::deadpool::Pool;
use diesel_migrations::{EmbeddedMigrations, MigrationHarness, embed_migrations};
use local_postgres::LocalPostgres;

const MIGRATIONS: EmbeddedMigrations = embed_migrations!("examples/shop/migrations");

/// Enough for ten handlers and the visitors of the shop.
const POOL_SIZE: usize = 16;

/// A migrated database that no other shop uses.
pub(crate) struct Database {
    pub(crate) url: String,
    /// What a person types to look into it.
    pub(crate) psql: String,
    /// Jobs that were enqueued from here on are this run's; by the database's clock.
    pub(crate) opened_at: DateTime<Utc>,
    _lock: PgConnection,
    _server: Option<LocalPostgres>,
}

#[derive(QueryableByName)]
struct Lock {
    #[diesel(sql_type = Bool)]
    taken: bool,
    #[diesel(sql_type = Timestamptz)]
    at: DateTime<Utc>,
}

impl Database {
    /// Connects, or starts a server; then migrates.
    pub(crate) fn open() -> anyhow::Result<Self> {
        match env::var("DATABASE_URL") {
            Ok(url) if !url.is_empty() => Self::migrated(url, r#"psql "$DATABASE_URL""#, None)
                .context("cannot use the database that DATABASE_URL names"),
            _ => Self::private(),
        }
    }

    /// Makes a pool of async connections, each opened when it is first wanted.
    pub(crate) fn pool(&self) -> anyhow::Result<Pool<AsyncPgConnection>> {
        let manager = AsyncDieselConnectionManager::new(&self.url);
        Ok(Pool::builder(manager).max_size(POOL_SIZE).build()?)
    }

    fn private() -> anyhow::Result<Self> {
        // Durable, as a shop's database is; but a gigabyte of buffers is for benchmarks.
        let server = LocalPostgres::builder()
            .durable()
            .setting("shared_buffers", "128MB")
            .start()?;
        server.create_database("shop")?;
        let url = server.url("shop");
        let psql = format!("psql {url}");
        Self::migrated(url, &psql, Some(server))
    }

    fn migrated(url: String, psql: &str, server: Option<LocalPostgres>) -> anyhow::Result<Self> {
        let mut conn = PgConnection::establish(&url)?;
        let opened_at = lock(&mut conn)?;
        pgqueue_core::migrate(&mut conn)?;
        if let Err(error) = conn.run_pending_migrations(MIGRATIONS) {
            bail!("cannot migrate the shop's tables: {error}");
        }
        Ok(Self {
            url,
            psql: psql.to_owned(),
            opened_at,
            _lock: conn,
            _server: server,
        })
    }
}

/// Keeps a second shop out: each would do the other's jobs, and write the receipts into its own folder.
fn lock(conn: &mut PgConnection) -> anyhow::Result<DateTime<Utc>> {
    let lock: Lock = diesel::sql_query(
        "SELECT pg_try_advisory_lock(hashtextextended('shop', 0)) AS taken, now() AS at",
    )
    .get_result(conn)?;
    if !lock.taken {
        bail!("another shop runs on this database: stop it first, or name another database");
    }
    Ok(lock.at)
}
