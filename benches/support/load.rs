//! Databases with jobs in them.

use anyhow::Context as _;
use diesel::connection::SimpleConnection as _;
use diesel::prelude::*;
use local_postgres::{Database, LocalPostgres};

/// Makes a migrated database with so many due jobs of kind `noop`, each with 45 bytes of payload, as a bulk enqueue leaves it.
///
/// # Errors
/// What the server refuses.
pub fn backlog(server: &LocalPostgres, jobs: i32) -> anyhow::Result<Database> {
    let database = empty(server)?;
    fill(&database, &due(jobs))?;
    Ok(database)
}

/// Gives the statement that enqueues so many due jobs.
#[must_use]
pub fn due(jobs: i32) -> String {
    format!(
        "INSERT INTO pgqueue_jobs (kind, payload) \
         SELECT 'noop', jsonb_build_object('order_id', n, 'note', 'a small payload') FROM generate_series(1, {jobs}) AS n"
    )
}

/// Gives the statement that makes so many completed jobs.
#[must_use]
pub fn ended(jobs: i64) -> String {
    format!(
        "INSERT INTO pgqueue_jobs (kind, payload, state, attempt, fencing_token, started_at, finished_at) \
         SELECT 'noop', '{{\"note\": \"a small payload\"}}', 'completed', 1, 1, now(), now() - n * interval '5 ms' \
         FROM generate_series(1, {jobs}) AS n"
    )
}

/// Gives the statement that makes so many jobs that are due from tomorrow on.
#[must_use]
pub fn future(jobs: i64) -> String {
    format!(
        "INSERT INTO pgqueue_jobs (kind, payload, run_at) \
         SELECT 'noop', '{{\"note\": \"a small payload\"}}', now() + interval '1 day' + n * interval '1 ms' \
         FROM generate_series(1, {jobs}) AS n"
    )
}

/// Makes a migrated database.
///
/// # Errors
/// What the server refuses.
pub fn empty(server: &LocalPostgres) -> anyhow::Result<Database> {
    let database = server.database()?;
    pgqueue_core::migrate(&mut PgConnection::establish(database.url())?)?;
    Ok(database)
}

/// Runs a statement that fills tables, and leaves them as autovacuum would in time, so that this does not run into the
/// measurement.
///
/// # Errors
/// What the server refuses.
pub fn fill(database: &Database, statement: &str) -> anyhow::Result<()> {
    let mut conn = PgConnection::establish(database.url())?;
    conn.batch_execute(statement)
        .context("cannot fill the tables")?;
    conn.batch_execute("VACUUM ANALYZE")?;
    conn.batch_execute("CHECKPOINT")?;
    Ok(())
}
