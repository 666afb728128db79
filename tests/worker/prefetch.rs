//! What a worker claims ahead of its free slots, and what becomes of it when it cannot begin.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use diesel::connection::SimpleConnection;
use pgqueue_core::{Context, JobState, NewJob, WorkerBuilder, admin};
use pgqueue_suite::{TestDatabase, wait_until};
use serde_json::json;
use tokio::sync::watch;

use crate::{HOUR, Running, errors, worker};

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

impl Stuck {
    /// Starts the worker, changed as the test wants it, and waits until it is stuck.
    async fn run(
        self,
        change: impl FnOnce(WorkerBuilder) -> WorkerBuilder,
    ) -> (Running, Arc<Mutex<Vec<i64>>>, watch::Sender<bool>) {
        let running = Running::start(change(self.builder));
        wait_until("a job is stuck", async || {
            self.begun.lock().unwrap().contains(&STUCK)
        })
        .await;
        (running, self.begun, self.gate)
    }
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
    let (first, begun, gate) = stuck(&db).run(|builder| builder).await;
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
    let (running, begun, gate) = stuck(&db).run(|builder| builder.shutdown_grace(HOUR)).await;

    running.handle.stop();
    wait_until("all behind it are pending", async || {
        behind(&db, "state = 'pending' AND attempt = 0") == LAST - STUCK
    })
    .await;

    db.wait_for_count(JobState::Running, 1).await;
    gate.send(true).unwrap();
    running.stop().await;
    assert_eq!(db.count(JobState::Completed), STUCK);
    assert_eq!(begun.lock().unwrap().last(), Some(&STUCK));
}

#[tokio::test]
async fn a_job_that_is_cancelled_while_it_waits_for_a_slot_never_begins() {
    // It waits for a quarter of a second, and this test may be slower: then it tries again.
    for _ in 0..10 {
        let db = TestDatabase::migrated();
        enqueue(&db);
        let (running, begun, gate) = stuck(&db).run(|builder| builder).await;

        let next = db.number(&format!(
            "SELECT id FROM pgqueue_jobs WHERE payload ->> 'number' = '{}'",
            STUCK + 1
        ));
        let cancelled = admin::cancel(next).run(&mut db.sync()).unwrap();
        let row = db.wait_for_state(next, JobState::Cancelled).await;
        gate.send(true).unwrap();
        db.wait_for_count(JobState::Completed, LAST - 1).await;

        assert!(!begun.lock().unwrap().contains(&(STUCK + 1)));
        running.stop().await;
        let waited = cancelled.requested == 1;
        if let Some(error) = errors(&row).last().filter(|_| waited) {
            assert_eq!(error.message, "cancelled before it began");
            return;
        }
    }
    panic!("it was never cancelled while it waited");
}

#[tokio::test]
async fn switched_off_nothing_is_claimed_ahead() {
    let db = TestDatabase::migrated();
    enqueue(&db);
    let (running, _begun, gate) = stuck(&db)
        .run(|builder| builder.prefetch(Duration::ZERO))
        .await;

    assert_eq!(behind(&db, "fencing_token > 0"), 0);
    gate.send(true).unwrap();
    db.wait_for_count(JobState::Completed, LAST).await;
    assert_eq!(db.number("SELECT max(fencing_token) FROM pgqueue_jobs"), 1);
    running.stop().await;
}

#[tokio::test]
async fn jobs_without_a_retry_left_are_claimed_only_into_free_slots() {
    let db = TestDatabase::migrated();
    enqueue(&db);
    let last_chance = STUCK + 10;
    db.execute(&format!(
        "UPDATE pgqueue_jobs SET max_retries = 0 WHERE payload ->> 'number' = '{last_chance}'"
    ));
    let (running, begun, gate) = stuck(&db).run(|builder| builder).await;
    wait_until("all behind it are pending", async || {
        behind(&db, "state = 'pending'") == LAST - STUCK
    })
    .await;

    let claimed = |condition: &str| {
        let number = "(payload ->> 'number')::bigint";
        behind(&db, &format!("fencing_token > 0 AND {number} {condition}"))
    };
    assert!(
        claimed(&format!("< {last_chance}")) > 0,
        "none was claimed ahead"
    );
    assert_eq!(claimed(&format!(">= {last_chance}")), 0);
    gate.send(true).unwrap();
    db.wait_for_count(JobState::Completed, LAST).await;
    running.stop().await;
    let mut begun = begun.lock().unwrap().clone();
    begun.sort_unstable(); // what was given back is behind the claim cursor, and comes when a sweep finds it
    assert_eq!(begun, (1..=LAST).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_backlog_of_jobs_without_a_retry_is_drained_each_job_once() {
    let db = TestDatabase::migrated();
    let jobs = (0..2000).map(|number| {
        let retries = if number % 7 == 0 || number > 1000 {
            0
        } else {
            3
        };
        NewJob::new("job", json!({})).max_retries(retries)
    });
    pgqueue_core::enqueue_all(&mut db.sync(), jobs.collect::<Vec<_>>()).unwrap();

    let worker = worker(&db, async |_, _| Ok::<_, String>(()));
    worker.build().unwrap().run_until_empty().await.unwrap();

    assert_eq!(db.count(JobState::Completed), 2000);
    assert_eq!(db.number("SELECT max(attempt) FROM pgqueue_jobs"), 1);
}

#[tokio::test]
async fn jobs_that_have_lost_a_process_run_one_at_a_time_amid_a_flood_of_quick_ones() {
    let db = TestDatabase::migrated();
    let now = Arc::new(AtomicUsize::new(0));
    let (suspects, all) = (Arc::new(AtomicUsize::new(0)), Arc::clone(&now));
    let most = Arc::new((AtomicUsize::new(0), AtomicUsize::new(0)));
    let noted = Arc::clone(&most);
    let handler = move |job: pgqueue_core::RawJob, _: Context| {
        let (suspects, all) = (Arc::clone(&suspects), Arc::clone(&all));
        let noted = Arc::clone(&noted);
        async move {
            let is_suspect = job.payload["suspect"] == true;
            let counts = [(&all, &noted.0), (&suspects, &noted.1)];
            let counted = if is_suspect {
                &counts[..]
            } else {
                &counts[..1]
            };
            for (now, most) in counted {
                most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            }
            tokio::task::yield_now().await;
            for (now, _) in counted {
                now.fetch_sub(1, Ordering::SeqCst);
            }
            Ok::<_, String>(())
        }
    };
    let running = Running::start(worker(&db, handler).concurrency(2));
    let flood = || {
        let jobs = (0..2000).map(|_| NewJob::new("job", json!({})));
        pgqueue_core::enqueue_all(&mut db.sync(), jobs.collect::<Vec<_>>()).unwrap();
    };
    flood();
    wait_until("it is in the flood", async || {
        db.count(JobState::Completed) > 500
    })
    .await;

    let suspects = (0..3).map(|_| NewJob::new("job", json!({ "suspect": true })).priority(9));
    pgqueue_core::enqueue_all(&mut db.sync(), suspects.collect::<Vec<_>>()).unwrap();
    db.execute(
        "UPDATE pgqueue_jobs SET lost = 1, attempt = 1 WHERE priority = 9 AND state = 'pending'",
    );
    let done = "SELECT count(*) FROM pgqueue_jobs WHERE priority = 9 AND state = 'completed'";
    wait_until(
        "the suspects have run, and the flood has not ended",
        async || {
            if db.count(JobState::Pending) < 4000 {
                flood();
            }
            db.number(done) == 3
        },
    )
    .await;

    running.stop().await;
    assert!(db.count(JobState::Pending) > 0, "the flood had ended");
    assert!(
        most.0.load(Ordering::SeqCst) <= 2,
        "more than the concurrency"
    );
    assert_eq!(most.1.load(Ordering::SeqCst), 1, "suspects at once");
    assert_eq!(
        db.number("SELECT count(*) FROM pgqueue_jobs WHERE priority = 9 AND fencing_token <> 1"),
        0
    );
}

#[tokio::test]
async fn ends_of_one_queue_that_cannot_be_stored_do_not_stop_another_queue() {
    let db = TestDatabase::migrated();
    let (gate, open) = watch::channel(false);
    let handler = move |job: pgqueue_core::RawJob, _: Context| {
        let mut open = open.clone();
        async move {
            if job.payload["waits"] == true {
                open.wait_for(|open| *open).await.unwrap();
            }
            Ok::<_, String>(())
        }
    };
    let builder = worker(&db, handler).queue("locked", 3).queue("free", 3);
    let running = Running::start(builder.concurrency(3));
    let waits = (0..3).map(|_| NewJob::new("job", json!({ "waits": true })).queue("locked"));
    pgqueue_core::enqueue_all(&mut db.sync(), waits.collect::<Vec<_>>()).unwrap();
    db.wait_for_count(JobState::Running, 3).await;
    let mut holder = db.sync();
    holder
        .batch_execute("BEGIN; SELECT FROM pgqueue_jobs WHERE queue = 'locked' FOR UPDATE")
        .unwrap();
    gate.send(true).unwrap();

    let quick = (0..500).map(|_| NewJob::new("job", json!({})).queue("free"));
    pgqueue_core::enqueue_all(&mut db.sync(), quick.collect::<Vec<_>>()).unwrap();
    db.wait_for_count(JobState::Completed, 500).await;

    assert_eq!(db.count(JobState::Running), 3);
    holder.batch_execute("COMMIT").unwrap();
    db.wait_for_count(JobState::Completed, 503).await;
    running.stop().await;
}
