//! Looks at a run from outside while it goes on: what must hold at every moment, and that a job wakes a worker that waits.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use diesel_async::{AsyncConnection, AsyncPgConnection};
use pgqueue_suite::chaos::{Act, LEASE, QUEUES, Soak};
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
/// The server ends an engine's session that sits in a transaction for 10 s. It needs a moment to see so.
const IDLE_LIMIT: &str = "15 seconds";
/// How long the probe's worker has nothing to do. It looks again by itself at growing intervals, so that after a while its next
/// look is as far away as its last job.
const QUIET: Duration = Duration::from_secs(24);
/// How long a job may wait for it, with time to connect anew; less than until that look.
const WAKE_LIMIT: Duration = Duration::from_secs(15);

/// What was seen.
#[derive(Default)]
pub(crate) struct Sightings(Mutex<Findings>);

impl Sightings {
    fn add(&self, rule: Rule, what: String) {
        self.0.lock().unwrap().add(rule, what);
    }

    /// Gives what was seen since the last call.
    pub(crate) fn take(&self) -> Vec<Violation> {
        std::mem::take(&mut *self.0.lock().unwrap()).into_violations()
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
/// Sessions of the engine are known by the comment at the head of each of its statements.
const IDLE: &str = "\
    SELECT pid || ' ' || left(query, 60)
    FROM pg_stat_activity
    WHERE datname = current_database()
      AND state LIKE 'idle in transaction%'
      AND query LIKE '-- %'
      AND query NOT LIKE '-- Completes a job inside%'
      AND state_change < clock_timestamp() - $1::text::interval";

/// Looks until the task is aborted.
pub(crate) async fn watch(cluster: Cluster, sightings: Arc<Sightings>) {
    loop {
        let mut orphans = HashMap::new();
        // A database that is away makes nobody late.
        if let Some(client) = cluster.connect().await {
            while look(&client, &mut orphans, &sightings).await.is_ok() {
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
    for row in client.query(IDLE, &[&IDLE_LIMIT]).await? {
        sightings.add(Rule::NoIdleTransaction, row.get(0));
    }
    Ok(())
}

/// Enqueues a job now and then for the worker that must be woken, until the task is aborted.
pub(crate) async fn probe(cluster: Cluster, sightings: Arc<Sightings>) {
    for number in 1.. {
        tokio::time::sleep(QUIET).await;
        // A database that goes away meanwhile: that one tells nothing.
        let Some(woken) = probe_once(&cluster, -number).await else {
            continue;
        };
        if !woken {
            let what = format!("probe {number} waited for {WAKE_LIMIT:?}");
            sightings.add(Rule::WakesUp, what);
        }
    }
}

/// Enqueues one job and waits for its end; nothing if the database was away meanwhile.
async fn probe_once(cluster: &Cluster, intent: i64) -> Option<bool> {
    let mut conn = AsyncPgConnection::establish(&cluster.probe_url())
        .await
        .ok()?;
    let act = Act::Return;
    let job = pgqueue_core::new(Soak { intent, act }).queue(QUEUES[0].0);
    let id = job.enqueue_async(&mut conn).await.ok()?.id;
    let client = connect(&cluster.probe_url()).await?;
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
            return Some(false);
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Some(true)
}
