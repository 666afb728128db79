//! What PostgreSQL did: by `pg_stat_statements` for a page, by `/proc` for a while. And how it forgets what it knows.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use diesel::connection::SimpleConnection as _;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Double, Nullable, Text};
use local_postgres::{LocalPostgres, Shutdown};
use pgqueue_suite::bench::processor;

/// Knows the server.
pub(crate) struct Meter<'a> {
    url: String,
    /// To be restarted; `None` when it is somebody else's.
    server: Option<&'a LocalPostgres>,
    counts_statements: bool,
    pub(crate) version: String,
}

/// What a page made the database do.
#[derive(Debug, QueryableByName)]
pub(crate) struct Work {
    #[diesel(sql_type = BigInt)]
    pub(crate) statements: i64,
    /// Planning and execution.
    #[diesel(sql_type = Double)]
    pub(crate) ms: f64,
    #[diesel(sql_type = BigInt)]
    pub(crate) rows: i64,
    /// Pages of 8 KB that were looked at.
    #[diesel(sql_type = BigInt)]
    pub(crate) buffers: i64,
    /// The statement that took longest, and its time.
    #[diesel(sql_type = Nullable<Text>)]
    pub(crate) slowest: Option<String>,
    #[diesel(sql_type = Nullable<Double>)]
    pub(crate) slowest_ms: Option<f64>,
}

/// `$1` is kept out: what the benchmark asks for itself.
const WORK: &str = "\
    SELECT coalesce(sum(calls), 0)::bigint AS statements,
        coalesce(sum(total_exec_time + total_plan_time), 0) AS ms,
        coalesce(sum(rows), 0)::bigint AS rows,
        coalesce(sum(shared_blks_hit + shared_blks_read), 0)::bigint AS buffers,
        (array_agg(query ORDER BY total_exec_time + total_plan_time DESC))[1] AS slowest,
        max(total_exec_time + total_plan_time) AS slowest_ms
    FROM pg_stat_statements
    WHERE dbid = (SELECT oid FROM pg_database WHERE datname = current_database()) AND query NOT LIKE '%pg_stat_statements%'";

#[derive(QueryableByName)]
struct Said {
    #[diesel(sql_type = Text)]
    said: String,
}

impl<'a> Meter<'a> {
    pub(crate) fn new(url: &str, server: Option<&'a LocalPostgres>) -> anyhow::Result<Self> {
        let mut conn = PgConnection::establish(url)?;
        let counts_statements = conn
            .batch_execute("CREATE EXTENSION IF NOT EXISTS pg_stat_statements; SELECT count(*) FROM pg_stat_statements")
            .is_ok();
        let version = said(&mut conn, "SHOW server_version")?;
        Ok(Self {
            url: url.to_owned(),
            server: server.filter(|server| server.is_private()),
            counts_statements,
            version,
        })
    }

    /// Sets what was counted to nothing.
    pub(crate) fn reset(&self) -> anyhow::Result<()> {
        if self.counts_statements {
            PgConnection::establish(&self.url)?
                .batch_execute("SELECT pg_stat_statements_reset()")?;
        }
        Ok(())
    }

    /// Tells what was done since.
    pub(crate) fn work(&self) -> anyhow::Result<Option<Work>> {
        if !self.counts_statements {
            return Ok(None);
        }
        let mut conn = PgConnection::establish(&self.url)?;
        Ok(Some(diesel::sql_query(WORK).get_result(&mut conn)?))
    }

    /// Restarts the server and has the system drop its files from memory. Is false where that cannot be done.
    pub(crate) fn make_cold(&self) -> anyhow::Result<bool> {
        let Some(server) = self.server else {
            return Ok(false);
        };
        let mut conn = PgConnection::establish(&self.url)?;
        let directory = PathBuf::from(said(&mut conn, "SHOW data_directory")?).join("base");
        drop(conn);
        server.restart(Shutdown::Fast)?;
        forget(&directory)
    }

    /// Sums the processor time of all processes of the server, those that have ended included.
    pub(crate) fn processor_time(&self) -> Option<Duration> {
        processor::of_server(&self.url)
    }
}

fn said(conn: &mut PgConnection, show: &str) -> anyhow::Result<String> {
    let name = show.split(' ').nth(1).context("it is SHOW and a name")?;
    let query = format!("SELECT current_setting('{name}') AS said");
    Ok(diesel::sql_query(query).get_result::<Said>(conn)?.said)
}

#[cfg(target_os = "linux")]
fn forget(directory: &Path) -> anyhow::Result<bool> {
    use rustix::fs::{Advice, fadvise};
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            forget(&entry.path())?;
        } else {
            fadvise(fs::File::open(entry.path())?, 0, None, Advice::DontNeed)?;
        }
    }
    Ok(true)
}

#[cfg(not(target_os = "linux"))]
fn forget(_directory: &Path) -> anyhow::Result<bool> {
    Ok(false)
}
