//! The database goes away and comes back: nothing is lost, nothing runs twice, and nobody is taken for dead.

use super::*;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use local_postgres::{LocalPostgres, Shutdown};
use pgqueue_core::{Context, JobState};
use tokio::sync::watch;

/// What the handlers share: how often each job ran, kept beside the database, and a gate.
struct Shared {
    runs: Mutex<HashMap<i64, usize>>,
    gate: watch::Sender<bool>,
}

impl Shared {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            runs: Mutex::default(),
            gate: watch::Sender::new(false),
        })
    }

    fn ran(&self) -> usize {
        self.runs.lock().unwrap().len()
    }

    /// Checks that no job ran twice, by its own account and by the database's.
    fn assert_each_ran_once(&self, db: &TestDatabase) {
        let twice: Vec<_> = self.runs.lock().unwrap().clone().into_iter().collect();
        let twice: Vec<_> = twice.into_iter().filter(|(_, runs)| *runs != 1).collect();
        assert_eq!(twice, [], "job and runs");
        let marked =
            "SELECT count(*) FROM pgqueue_jobs WHERE attempt <> 1 OR lost > 0 OR errors <> '[]'";
        assert_eq!(db.number(marked), 0);
    }
}

async fn act(act: Act, ctx: Context<Arc<Shared>>) -> Result<(), String> {
    let shared = Arc::clone(ctx.state());
    *shared.runs.lock().unwrap().entry(ctx.id()).or_default() += 1;
    match act {
        Act::Wait => {
            let mut gate = shared.gate.subscribe();
            let opened = gate.wait_for(|open| *open).await;
            opened.map(drop).map_err(|error| error.to_string())
        }
        _ => {
            tokio::time::sleep(Duration::from_millis(5)).await;
            Ok(())
        }
    }
}

/// Starts two workers that share what their handlers see, and waits until both may judge each other.
async fn two_workers(db: &TestDatabase, shared: &Arc<Shared>) -> [Running; 2] {
    let start = |name: &str| {
        let worker = Worker::builder(db.url())
            .state(Arc::clone(shared))
            .name(name)
            .lease(LEASE)
            .lost_base_wait(Duration::ZERO)
            .concurrency(10)
            .handle(act);
        run(worker.build().unwrap())
    };
    let workers = [start("one"), start("two")];
    wait_until_judging(db, "one").await;
    wait_until_judging(db, "two").await;
    workers
}

fn ids(db: &TestDatabase) -> (i64, i64) {
    (
        db.number("SELECT min(id) FROM pgqueue_workers"),
        db.number("SELECT max(id) FROM pgqueue_workers"),
    )
}

/// Inserts jobs of an [`Act`] by SQL, all at once.
fn insert(db: &TestDatabase, act: &str, count: i64) {
    db.execute(&format!(
        "INSERT INTO pgqueue_jobs (kind, payload) SELECT 'act', '\"{act}\"' FROM generate_series(1, {count})"
    ));
}

/// A server whose commits outlive a crash, as those of production do.
fn safe_server() -> LocalPostgres {
    let server = LocalPostgres::builder().setting("synchronous_commit", "on");
    server.start().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fast_restart_of_postgresql_under_load_reruns_nothing() {
    a_restart_under_load_reruns_nothing(Shutdown::Fast).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_immediate_restart_of_postgresql_under_load_reruns_nothing() {
    a_restart_under_load_reruns_nothing(Shutdown::Immediate).await;
}

async fn a_restart_under_load_reruns_nothing(shutdown: Shutdown) {
    let server = safe_server();
    let db = TestDatabase::migrated_on(&server);
    let shared = Shared::new();
    let workers = two_workers(&db, &shared).await;
    let before = ids(&db);
    insert(&db, "Wait", 6);
    wait_until("six handlers wait", async || shared.ran() == 6).await;
    insert(&db, "Return", 4000);
    wait_until("the load is on", async || shared.ran() > 200).await;

    tokio::task::block_in_place(|| server.restart(shutdown)).unwrap();
    assert!(
        db.count(JobState::Pending) > 0,
        "the restart came under load"
    );
    shared.gate.send_replace(true);
    db.wait_for_count(JobState::Completed, 4006).await;

    shared.assert_each_ran_once(&db);
    assert_eq!(ids(&db), before, "no worker lost its lease");
    let listening = format!("SELECT count(*) {LISTENERS}");
    wait_until("both listen again", async || db.number(&listening) == 2).await;
    for worker in workers {
        worker.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outage_of_three_leases_reruns_nothing_and_loses_no_end() {
    let server = safe_server();
    let db = TestDatabase::migrated_on(&server);
    let shared = Shared::new();
    let _workers = two_workers(&db, &shared).await;
    let before = ids(&db);
    insert(&db, "Wait", 16);
    wait_until("all handlers wait", async || shared.ran() == 16).await;

    tokio::task::block_in_place(|| server.stop(Shutdown::Fast)).unwrap();
    shared.gate.send_replace(true);
    tokio::time::sleep(3 * LEASE).await; // the outage itself
    tokio::task::block_in_place(|| server.start_again()).unwrap();
    db.wait_for_count(JobState::Completed, 16).await;

    shared.assert_each_ran_once(&db);
    assert_eq!(ids(&db), before, "no worker was taken for dead");
}

/// The dangerous length: one worker's row has expired, the others' have not, because they beat later.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_an_outage_shorter_than_the_lease_nobody_is_judged_for_a_lease() {
    let server = safe_server();
    let db = TestDatabase::migrated_on(&server);
    let _workers = two_workers(&db, &Shared::new()).await;
    // Another worker that beat a third of its lease before the outage, and never again.
    db.execute(&format!(
        "CREATE TABLE deposed (at timestamptz);
         CREATE FUNCTION depose() RETURNS trigger LANGUAGE plpgsql AS
             $$ BEGIN INSERT INTO deposed VALUES (clock_timestamp()); RETURN OLD; END $$;
         CREATE TRIGGER depose BEFORE DELETE ON pgqueue_workers FOR EACH ROW EXECUTE FUNCTION depose();
         INSERT INTO pgqueue_workers (name, host, pid, version, queues, kinds, expires_at)
         VALUES ('slow', 'nowhere', 0, '0', '{{}}', '{{}}', clock_timestamp() + interval '{} milliseconds')",
        (LEASE * 2 / 3).as_millis()
    ));

    tokio::task::block_in_place(|| server.stop(Shutdown::Fast)).unwrap();
    tokio::time::sleep(LEASE * 2 / 3).await; // the outage itself
    tokio::task::block_in_place(|| server.start_again()).unwrap();
    let deposed = "SELECT count(*) FROM deposed";
    wait_until("the slow one is deposed", async || db.number(deposed) > 0).await;

    let waited = time(&db, "SELECT min(at) FROM deposed") - time(&db, "pg_postmaster_start_time()");
    assert!(
        waited >= TimeDelta::from_std(LEASE).unwrap(),
        "after {waited}"
    );
    assert_eq!(db.number(deposed), 1, "only the one that was silent");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_are_terminated_again_and_again_lose_nothing() {
    let db = TestDatabase::migrated();
    let shared = Shared::new();
    let _workers = two_workers(&db, &shared).await;
    let before = ids(&db);
    insert(&db, "Return", 6000);

    for _ in 0..25 {
        db.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
             WHERE datname = current_database() AND pid <> pg_backend_pid()",
        );
        tokio::time::sleep(Duration::from_millis(between(100, 200))).await;
    }
    insert(&db, "Return", 50);
    db.wait_for_count(JobState::Completed, 6050).await;

    shared.gate.send_replace(true);
    shared.assert_each_ran_once(&db);
    assert_eq!(ids(&db), before, "no worker lost its lease");
}

fn between(least: u64, most: u64) -> u64 {
    use std::hash::{BuildHasher, RandomState};
    least + RandomState::new().hash_one(()) % (most - least)
}

#[tokio::test]
async fn handlers_that_hold_the_whole_pool_for_ever_stop_neither_beats_nor_ends() {
    let db = TestDatabase::migrated();
    let hold = async |act: Act, ctx: Context| {
        let conn = ctx.connection().await;
        if act == Act::Never {
            std::future::pending::<()>().await;
        }
        conn.map(drop)
    };
    let worker = Worker::builder(db.deadpool(2)).lease(LEASE).handle(hold);
    let quick = async |_, _: Context| Ok::<_, String>(());
    let _worker = run(worker.handle_kind("quick", quick).build().unwrap());
    let held: Vec<i64> = (0..3).map(|_| enqueue(&db, Act::Never)).collect();
    db.wait_for_count(JobState::Running, 3).await;

    let lasting = format!(
        "SELECT count(*) FROM pgqueue_jobs WHERE state = 'running' AND started_at < clock_timestamp() - 2 * interval '{} milliseconds'",
        LEASE.as_millis()
    );
    wait_until("they have held it for two leases", async || {
        db.number(&lasting) == 3
    })
    .await;
    let quick = pgqueue_core::NewJob::new("quick", serde_json::json!({}));
    let quick = quick.enqueue(&mut db.sync()).unwrap().id;
    db.wait_for_state(quick, JobState::Completed).await;

    for job in held {
        let row = db.job(job);
        assert_eq!(
            (row.state, row.attempt, row.lost),
            (JobState::Running, 1, 0)
        );
    }
    let alive =
        "SELECT count(*) FROM pgqueue_workers WHERE id = 1 AND expires_at > clock_timestamp()";
    assert_eq!(db.number(alive), 1);
}
