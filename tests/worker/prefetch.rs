//! What a worker claims ahead of its free slots, and what becomes of it when it cannot begin.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use pgqueue_core::{Context, JobState, NewJob, WorkerBuilder, admin};
use pgqueue_suite::{TestDatabase, wait_until};
use serde_json::json;
use tokio::sync::watch;

use crate::{HOUR, Running, worker};

/// Quick jobs, enough that a worker has proven to be quick, then one that waits for a gate, then more quick ones.
const BEFORE: i64 = 600;
const STUCK: i64 = BEFORE + 1;
const LAST: i64 = STUCK + 40;

fn enqueue(db: &TestDatabase) {
    let jobs = (1..=LAST).map(|number| NewJob::new("job", json!({ "number": number })));
    pgqueue_core::enqueue_all(&mut db.sync(), jobs.collect::<Vec<_>>()).unwrap();
}

/// A worker of one slot that gets stuck, and which jobs have begun.
struct Stuck {
    builder: WorkerBuilder,
    begun: Arc<Mutex<Vec<i64>>>,
    most_at_once: Arc<AtomicUsize>,
    gate: watch::Sender<bool>,
}

fn stuck(db: &TestDatabase) -> Stuck {
    let (gate, open) = watch::channel(false);
    let begun = Arc::new(Mutex::new(Vec::new()));
    let now = Arc::new(AtomicUsize::new(0));
    let most_at_once = Arc::new(AtomicUsize::new(0));
    let (noted, most) = (Arc::clone(&begun), Arc::clone(&most_at_once));
    let handler = move |job: pgqueue_core::RawJob, _: Context| {
        let (mut open, now) = (open.clone(), Arc::clone(&now));
        most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        let number = job.payload["number"].as_i64().unwrap();
        noted.lock().unwrap().push(number);
        async move {
            if number == STUCK {
                open.wait_for(|open| *open).await.unwrap();
            }
            now.fetch_sub(1, Ordering::SeqCst);
            Ok::<_, String>(())
        }
    };
    Stuck {
        builder: worker(db, handler).concurrency(1),
        begun,
        most_at_once,
        gate,
    }
}

async fn wait_until_stuck(begun: &Mutex<Vec<i64>>) {
    wait_until("a job is stuck", async || {
        begun.lock().unwrap().contains(&STUCK)
    })
    .await;
}

fn behind(db: &TestDatabase, condition: &str) -> i64 {
    db.number(&format!(
        "SELECT count(*) FROM pgqueue_jobs WHERE (payload ->> 'number')::bigint > {STUCK} AND {condition}"
    ))
}

#[tokio::test]
async fn a_worker_of_one_slot_claims_ahead_and_runs_one_job_at_a_time_in_their_order() {
    let db = TestDatabase::migrated();
    enqueue(&db);
    let Stuck {
        builder,
        begun,
        most_at_once,
        gate,
    } = stuck(&db);
    gate.send(true).unwrap();

    builder.build().unwrap().run_until_empty().await.unwrap();

    assert_eq!(db.count(JobState::Completed), LAST);
    assert_eq!(most_at_once.load(Ordering::SeqCst), 1);
    assert_eq!(*begun.lock().unwrap(), (1..=LAST).collect::<Vec<_>>());
    let claims = db.number("SELECT count(DISTINCT started_at) FROM pgqueue_jobs");
    assert!(claims < LAST / 4, "{claims} claims for {LAST} jobs");
}

#[tokio::test]
async fn what_was_claimed_ahead_and_cannot_begin_is_given_back_at_no_cost_for_others_to_run() {
    let db = TestDatabase::migrated();
    enqueue(&db);
    let Stuck {
        builder,
        begun,
        gate,
        ..
    } = stuck(&db);
    let first = Running::start(builder);
    wait_until_stuck(&begun).await;
    wait_until("all but the stuck one wait", async || {
        behind(&db, "state <> 'pending'") == 0
    })
    .await;
    let claimed_ahead = behind(&db, "fencing_token > 0");

    let second = Running::start(worker(&db, async |_, _| Ok::<_, String>(())));
    db.wait_for_count(JobState::Completed, LAST - 1).await;

    assert!(claimed_ahead > 0, "nothing was claimed ahead");
    assert_eq!(behind(&db, "attempt = 1 AND lost = 0"), LAST - STUCK);
    assert_eq!(
        begun.lock().unwrap().last(),
        Some(&STUCK),
        "it began nothing behind the stuck one"
    );
    gate.send(true).unwrap();
    db.wait_for_count(JobState::Completed, LAST).await;
    first.stop().await;
    second.stop().await;
}

#[tokio::test]
async fn a_shutdown_gives_back_what_was_claimed_ahead_while_what_runs_has_its_grace() {
    let db = TestDatabase::migrated();
    enqueue(&db);
    let Stuck {
        builder,
        begun,
        gate,
        ..
    } = stuck(&db);
    let running = Running::start(builder.shutdown_grace(HOUR));
    wait_until_stuck(&begun).await;

    running.handle.stop();
    wait_until("all behind it are pending", async || {
        behind(&db, "state = 'pending' AND attempt = 0") == LAST - STUCK
    })
    .await;

    assert_eq!(db.count(JobState::Running), 1);
    gate.send(true).unwrap();
    running.stop().await;
    assert_eq!(db.count(JobState::Completed), STUCK);
    assert_eq!(begun.lock().unwrap().last(), Some(&STUCK));
}

#[tokio::test]
async fn a_job_that_is_cancelled_while_it_waits_for_a_slot_never_begins() {
    let db = TestDatabase::migrated();
    enqueue(&db);
    let Stuck {
        builder,
        begun,
        gate,
        ..
    } = stuck(&db);
    let running = Running::start(builder);
    wait_until_stuck(&begun).await;

    let last = db.number("SELECT max(id) FROM pgqueue_jobs");
    admin::cancel(last).run(&mut db.sync()).unwrap();
    db.wait_for_state(last, JobState::Cancelled).await;
    gate.send(true).unwrap();
    db.wait_for_count(JobState::Completed, LAST - 1).await;

    assert!(!begun.lock().unwrap().contains(&LAST));
    running.stop().await;
}

#[tokio::test]
async fn switched_off_nothing_is_claimed_ahead() {
    let db = TestDatabase::migrated();
    enqueue(&db);
    let Stuck {
        builder,
        begun,
        gate,
        ..
    } = stuck(&db);
    let running = Running::start(builder.prefetch(Duration::ZERO));
    wait_until_stuck(&begun).await;

    assert_eq!(behind(&db, "fencing_token > 0"), 0);
    gate.send(true).unwrap();
    db.wait_for_count(JobState::Completed, LAST).await;
    assert_eq!(db.number("SELECT max(fencing_token) FROM pgqueue_jobs"), 1);
    running.stop().await;
}
