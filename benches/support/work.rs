//! Workers whose jobs do nothing.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Text};
use pgqueue_core::{JobState, Worker, WorkerBuilder};

/// Drains what is due; gives the time from the start of the worker to its end.
///
/// # Errors
/// When the worker cannot start.
pub async fn drain(builder: WorkerBuilder<()>) -> anyhow::Result<Duration> {
    let worker = builder.handle_kind("noop", async |_job, _ctx| Ok::<_, String>(()));
    let worker = worker.build()?;
    let started = Instant::now();
    worker.run_until_empty().await?;
    Ok(started.elapsed())
}

/// Drains with default settings, and checks that so many jobs are completed: a drain that left something would be quick.
///
/// # Errors
/// When the worker cannot start, and when not all were drained.
pub async fn drain_by_default(url: &str, completed: i64) -> anyhow::Result<Duration> {
    let took = drain(Worker::builder(url)).await?;
    let found = count(url, JobState::Completed)?;
    anyhow::ensure!(
        found == completed,
        "{found} jobs are completed, and {completed} should be"
    );
    Ok(took)
}

/// Counts the jobs of a state.
///
/// # Errors
/// What the server refuses.
pub fn count(url: &str, state: JobState) -> anyhow::Result<i64> {
    use pgqueue_core::schema::pgqueue_jobs::dsl;
    let mut conn = PgConnection::establish(url)?;
    let jobs = dsl::pgqueue_jobs.filter(dsl::state.eq(state)).count();
    Ok(jobs.get_result(&mut conn)?)
}

/// Counts the jobs of all states.
///
/// # Errors
/// What the server refuses.
pub fn count_all(url: &str) -> anyhow::Result<i64> {
    use pgqueue_core::schema::pgqueue_jobs::dsl;
    let mut conn = PgConnection::establish(url)?;
    Ok(dsl::pgqueue_jobs.count().get_result(&mut conn)?)
}

/// Counts the transactions that a database has seen, those that rolled back included. Looks from another database, so that
/// the look is not among them. PostgreSQL tells of a transaction late: at its session's next one, or after ten seconds.
///
/// # Errors
/// What the server refuses.
pub fn transactions(elsewhere: &str, database: &str) -> anyhow::Result<i64> {
    #[derive(QueryableByName)]
    struct Seen {
        #[diesel(sql_type = BigInt)]
        seen: i64,
    }
    let query =
        "SELECT xact_commit + xact_rollback AS seen FROM pg_stat_database WHERE datname = $1";
    let seen: Seen = diesel::sql_query(query)
        .bind::<Text, _>(database)
        .get_result(&mut PgConnection::establish(elsewhere)?)
        .context("the server keeps no statistics")?;
    Ok(seen.seen)
}
