//! Looks at a run from outside while it goes on: what must hold at every moment, and that a job wakes a worker that waits.

use std::collections::HashMap;
use std::fmt::Display;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use diesel_async::{AsyncConnection, AsyncPgConnection};
use pgqueue_suite::chaos::{Act, GONE, LEASE, QUEUES, Soak};
use pgqueue_suite::proxy::statements::COMPLETE;
use tokio_postgres::Client;

use crate::checker::{Findings, Rule, Violation};
use crate::cluster::{Cluster, connect};

/// How often it looks.
const REST: Duration = Duration::from_secs(1);
/// How long a job may be running for nobody: the guarantee is a lease and two looks of the reaper for a worker that has been up
/// for a lease, twice a lease for one that has just started; workers are killed all the time, and the machine is busy.
const ORPHAN_LIMIT: Duration = LEASE
    .saturating_mul(4)
    .saturating_add(Duration::from_secs(10));
/// How many seconds the probe's worker has had nothing to do when a job comes. Who hears of no job looks by itself after 10 ms,
/// 30 ms, 70 ms and so on: about 20.5 s after the last one, and then not before 41 s.
const QUIET: std::ops::Range<f64> = 21.0..25.0;
/// How long a job may wait for it, with time to connect anew; less than until the next of these looks.
const WAKE_LIMIT: Duration = Duration::from_secs(15);

/// What was seen.
#[derive(Default)]
pub(crate) struct Sightings {
    findings: Mutex<Findings>,
    looks: AtomicUsize,
    probes: AtomicUsize,
    deeds: AtomicUsize,
}

impl Sightings {
    pub(crate) fn add(&self, rule: Rule, what: String) {
        self.findings.lock().unwrap().add(rule, what);
    }

    /// Notes an error that has no excuse: the server is not going down, and the connection is there.
    pub(crate) fn add_error(&self, whose: &str, error: &impl Display) {
        let error = error.to_string();
        if !GONE.iter().any(|words| error.contains(words)) {
            self.add(Rule::NoErrors, format!("{whose}: {error}"));
        }
    }

    /// Counts what an operator did.
    pub(crate) fn count_deed(&self) {
        self.deeds.fetch_add(1, Ordering::Relaxed);
    }

    /// Tells how often somebody looked, a worker was to be woken, and an operator acted.
    pub(crate) fn counts(&self) -> [usize; 3] {
        [&self.looks, &self.probes, &self.deeds].map(|count| count.load(Ordering::Relaxed))
    }

    /// Is true when something was seen that must not be.
    pub(crate) fn has_some(&self) -> bool {
        !self.findings.lock().unwrap().is_empty()
    }

    /// Gives what was seen since the last call.
    pub(crate) fn take(&self) -> Vec<Violation> {
        std::mem::take(&mut *self.findings.lock().unwrap()).into_violations()
    }
}

const ORPHANS: &str = "\
    SELECT j.id, j.fencing_token
    FROM pgqueue_jobs AS j
    WHERE j.state = 'running'
      AND NOT EXISTS (SELECT FROM pgqueue_workers AS w WHERE w.id = j.claimed_by AND w.expires_at >= clock_timestamp())";
const DOUBLE_KEYS: &str = "\
    SELECT queue || ' ' || unique_key
    FROM pgqueue_jobs
    WHERE state IN ('pending', 'running') AND unique_key IS NOT NULL
    GROUP BY queue, unique_key
    HAVING count(*) > 1";
/// The engine's own sessions have no transaction of more than one statement. They are known by the comment at the head of each; an
/// enqueue, and a completion inside a transaction, are a statement of somebody else's.
const IDLE: &str = "\
    SELECT pid || ' ' || left(query, 60)
    FROM pg_stat_activity
    WHERE datname = current_database()
      AND state LIKE 'idle in transaction%'
      AND query LIKE '-- %'
      AND NOT starts_with(query, $1)
      AND query NOT LIKE '-- Enqueues %'";

/// Looks until the task is aborted.
pub(crate) async fn watch(cluster: Cluster, sightings: Arc<Sightings>) {
    loop {
        let mut orphans = HashMap::new();
        // A database that is away makes nobody late.
        if let Some(client) = cluster.connect().await {
            loop {
                if let Err(error) = look(&client, &mut orphans, &sightings).await {
                    let said = error.as_db_error().map(ToString::to_string);
                    sightings.add_error("a look", &said.unwrap_or_else(|| error.to_string()));
                    break;
                }
                sightings.looks.fetch_add(1, Ordering::Relaxed);
                tokio::time::sleep(REST).await;
            }
        }
        tokio::time::sleep(REST).await;
    }
}

async fn look(
    client: &Client,
    orphans: &mut HashMap<(i64, i64), Instant>,
    sightings: &Sightings,
) -> Result<(), tokio_postgres::Error> {
    let now = Instant::now();
    let rows = client.query(ORPHANS, &[]).await?;
    let seen: Vec<(i64, i64)> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
    orphans.retain(|run, _| seen.contains(run));
    for run in seen {
        let since = *orphans.entry(run).or_insert(now);
        if now - since > ORPHAN_LIMIT {
            let what = format!(
                "run {} of job {} has had no owner for {ORPHAN_LIMIT:?}",
                run.1, run.0
            );
            sightings.add(Rule::RunningHasOwner, what);
        }
    }
    for row in client.query(DOUBLE_KEYS, &[]).await? {
        sightings.add(
            Rule::UniqueKey,
            format!("two jobs hold {:?}", row.get::<_, String>(0)),
        );
    }
    for row in client.query(IDLE, &[&COMPLETE]).await? {
        sightings.add(Rule::NoIdleTransaction, row.get(0));
    }
    Ok(())
}

/// Enqueues a job now and then for the worker that must be woken, until the task is aborted.
pub(crate) async fn probe(cluster: Cluster, sightings: Arc<Sightings>) {
    for number in 1.. {
        // A database that goes away meanwhile: that one tells nothing.
        match probe_once(&cluster, -number).await {
            Some(woken) => {
                sightings.probes.fetch_add(1, Ordering::Relaxed);
                if !woken {
                    let what = format!("probe {number} waited for {WAKE_LIMIT:?}");
                    sightings.add(Rule::WakesUp, what);
                }
            }
            None => tokio::time::sleep(REST).await,
        }
    }
}

/// For how many seconds the worker has had nothing to do.
const IDLE_FOR: &str = "\
    SELECT extract(epoch FROM clock_timestamp() - greatest(max(w.started_at), (SELECT max(j.finished_at) FROM pgqueue_jobs AS j)))::float8
    FROM pgqueue_workers AS w";

/// Waits until the worker has been idle for a while, enqueues one job and waits for its begin; nothing if the database was away
/// meanwhile. A worker that has been idle for too long gets a job that tells nothing.
async fn probe_once(cluster: &Cluster, intent: i64) -> Option<bool> {
    let client = connect(&cluster.probe_url()).await?;
    let mut idle = 0.0;
    while idle < QUIET.start {
        tokio::time::sleep(REST / 4).await;
        let row = client.query_one(IDLE_FOR, &[]).await.ok()?;
        idle = row.get::<_, Option<f64>>(0).unwrap_or_default();
    }
    let mut conn = AsyncPgConnection::establish(&cluster.probe_url())
        .await
        .ok()?;
    let act = Act::Return;
    let job = pgqueue_core::new(Soak { intent, act }).queue(QUEUES[0].0);
    let id = job.enqueue_async(&mut conn).await.ok()?.id;
    let give_up = Instant::now() + WAKE_LIMIT;
    let pending =
        "SELECT EXISTS (SELECT FROM pgqueue_jobs WHERE id = $1 AND state = 'pending' AND lost = 0)";
    while client
        .query_one(pending, &[&id])
        .await
        .ok()?
        .get::<_, bool>(0)
    {
        if Instant::now() > give_up {
            return QUIET.contains(&idle).then_some(false);
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    QUIET.contains(&idle).then_some(true)
}
