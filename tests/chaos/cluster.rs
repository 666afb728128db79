//! The PostgreSQL of a run: a primary, and a standby that takes over when the primary is killed.
//!
//! Commits wait for the standby while there is one, so that a failover loses none: what the queue promises is as durable as
//! a commit is.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use diesel::prelude::*;
use futures_util::TryStreamExt;
use local_postgres::{LocalPostgres, Shutdown};
use tokio_postgres::{Client, NoTls};

const DATABASE: &str = "soak";
const PROBE: &str = "probe";

/// How long a new standby may take to have all that was committed meanwhile, on a busy machine.
const CATCH_UP_LIMIT: Duration = Duration::from_secs(300);

/// The servers; each change of them blocks until it is done.
#[derive(Clone)]
pub(crate) struct Cluster(Arc<Servers>);

struct Servers {
    primary: Mutex<Arc<LocalPostgres>>,
    standby: Mutex<Option<LocalPostgres>>,
}

impl Cluster {
    /// Starts a primary with a migrated database that keeps evidence, and one for the probe.
    pub(crate) fn start() -> Self {
        let primary = builder().start().unwrap();
        for database in [DATABASE, PROBE] {
            execute(
                &primary.url("postgres"),
                &format!("CREATE DATABASE {database}"),
            );
            let url = primary.url(database);
            pgqueue_core::migrate(&mut PgConnection::establish(&url).unwrap()).unwrap();
            execute(&url, include_str!("evidence.sql"));
            execute(
                &url,
                &format!(
                    "ALTER DATABASE {database} SET idle_in_transaction_session_timeout = '10s'"
                ),
            );
        }
        Self(Arc::new(Servers {
            primary: Mutex::new(Arc::new(primary)),
            standby: Mutex::default(),
        }))
    }

    /// Gives the URL of the database on the primary of now.
    pub(crate) fn url(&self) -> String {
        self.primary().url(DATABASE)
    }

    /// Gives the URL of the probe's database.
    pub(crate) fn probe_url(&self) -> String {
        self.primary().url(PROBE)
    }

    /// Connects to the primary of now.
    pub(crate) async fn connect(&self) -> Option<Client> {
        connect(&self.url()).await
    }

    /// Runs SQL on both databases.
    pub(crate) fn execute(&self, sql: &str) {
        execute(&self.url(), sql);
        execute(&self.probe_url(), sql);
    }

    /// Writes what the triggers recorded, and what the servers logged, into files.
    pub(crate) async fn copy_evidence(&self, folder: &Path) {
        let client = self.connect().await.expect("PostgreSQL runs");
        for table in ["changes", "leases"] {
            let copy = format!("COPY {table} TO STDOUT (FORMAT csv, HEADER)");
            let rows = client.copy_out(&copy).await.unwrap();
            let mut rows = std::pin::pin!(rows);
            let mut file = File::create(folder.join(format!("{table}.csv"))).unwrap();
            while let Some(part) = rows.try_next().await.unwrap() {
                file.write_all(&part).unwrap();
            }
        }
        std::fs::write(folder.join("primary.log"), self.primary().log()).unwrap();
        if let Some(standby) = self.0.standby.lock().unwrap().as_ref() {
            std::fs::write(folder.join("standby.log"), standby.log()).unwrap();
        }
    }

    /// Restarts the primary.
    pub(crate) async fn restart(&self, shutdown: Shutdown) {
        let primary = self.primary();
        let restart = move || primary.restart(shutdown).unwrap();
        tokio::task::spawn_blocking(restart).await.unwrap();
    }

    /// Starts a standby if there is none, and has commits wait for it.
    pub(crate) async fn add_standby(&self) {
        let cluster = self.clone();
        let add = move || {
            let mut standby = cluster.0.standby.lock().unwrap();
            if standby.is_none() {
                *standby = Some(cluster.primary().standby(builder()).unwrap());
                wait_for_standbys(&cluster.primary());
            }
        };
        tokio::task::spawn_blocking(add).await.unwrap();
        self.wait_for_standby().await;
    }

    /// Waits until the standby, if there is one, has all that is committed: without it nobody can commit.
    pub(crate) async fn wait_for_standby(&self) {
        let begun = Instant::now();
        while self.0.standby.lock().unwrap().is_some() && !self.follows().await {
            if begun.elapsed() > CATCH_UP_LIMIT {
                let standby = self.0.standby.lock().unwrap();
                let log = standby.as_ref().map(LocalPostgres::log);
                panic!("the standby does not follow: {}", log.unwrap_or_default());
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Kills the primary, and has the standby take over; false: there is no standby that has all that was committed.
    pub(crate) async fn fail_over(&self) -> bool {
        if !self.follows().await {
            return false;
        }
        let cluster = self.clone();
        let fail_over = move || {
            let Some(standby) = cluster.0.standby.lock().unwrap().take() else {
                return false;
            };
            cluster.primary().stop(Shutdown::Crash).unwrap();
            let promoted = "DO $$ BEGIN ASSERT pg_promote(true, 120), 'the standby has not taken over'; END $$";
            execute(&standby.url("postgres"), promoted);
            *cluster.0.primary.lock().unwrap() = Arc::new(standby);
            true
        };
        tokio::task::spawn_blocking(fail_over).await.unwrap()
    }

    /// Is true when commits wait for a standby that has caught up.
    async fn follows(&self) -> bool {
        let Some(client) = self.connect().await else {
            return false;
        };
        let following = "SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync' AND state = 'streaming'";
        let following = client.query_one(following, &[]).await;
        following.is_ok_and(|row| row.get::<_, i64>(0) == 1)
    }

    fn primary(&self) -> Arc<LocalPostgres> {
        Arc::clone(&self.0.primary.lock().unwrap())
    }
}

/// Connects to look on, if the server is there. No fault ends such a session.
pub(crate) async fn connect(url: &str) -> Option<Client> {
    let url = format!("{url}?application_name=onlooker");
    let (client, connection) = tokio_postgres::connect(&url, NoTls).await.ok()?;
    tokio::spawn(connection);
    Some(client)
}

/// Commits outlive the death of a server; they need not outlive that of the machine.
fn builder() -> local_postgres::Builder {
    LocalPostgres::builder()
        .setting("synchronous_commit", "on")
        .setting("wal_sender_timeout", "5s")
        // A checkpoint after a crash would remove what the standby has not got yet, and nobody could commit any more.
        .setting("wal_keep_size", "1GB")
        // A minute, the default, is longer than such a server is up.
        .setting("autovacuum_naptime", "3s")
}

/// Has commits wait for a standby. That is set after the standby is copied, which therefore waits for none when it takes over.
fn wait_for_standbys(server: &LocalPostgres) {
    let url = server.url("postgres");
    execute(&url, "ALTER SYSTEM SET synchronous_standby_names = '*'");
    execute(&url, "SELECT pg_reload_conf()");
}

/// Tries until it succeeds: the server may just have begun to take connections.
fn execute(url: &str, sql: &str) {
    use diesel::connection::SimpleConnection;
    let run = || PgConnection::establish(url).map(|mut conn| conn.batch_execute(sql));
    let mut last = String::new();
    for _ in 0..200 {
        match run() {
            Ok(Ok(())) => return,
            Ok(Err(error)) => last = error.to_string(),
            Err(error) => last = error.to_string(),
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    panic!("cannot run {sql}: {last}");
}
