//! How many jobs run at once, of which queues, and on how many workers.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use diesel::sql_query;
use diesel::sql_types::BigInt;
use pgqueue_core::{BoxError, Context, Job, JobState, NewJob, Worker, WorkerBuilder, admin};
use pgqueue_suite::{TestDatabase, wait_until};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::sync::watch;

use crate::{HOUR, Running, enqueue, job, worker};

/// How many jobs of each queue run now, and the most that ever did.
#[derive(Default)]
struct Crowd {
    now: HashMap<String, usize>,
    most: HashMap<String, usize>,
    most_in_all: usize,
}

impl Crowd {
    fn enter(&mut self, queue: &str) {
        let now = self.now.entry(queue.to_owned()).or_default();
        *now += 1;
        let most = self.most.entry(queue.to_owned()).or_default();
        *most = (*most).max(*now);
        self.most_in_all = self.most_in_all.max(self.now.values().sum());
    }

    fn leave(&mut self, queue: &str) {
        *self.now.get_mut(queue).unwrap() -= 1;
    }
}

/// A worker whose jobs are counted, and wait until the gate opens.
fn gated(db: &TestDatabase) -> (WorkerBuilder, Arc<Mutex<Crowd>>, watch::Sender<bool>) {
    let crowd = Arc::new(Mutex::new(Crowd::default()));
    let (gate, open) = watch::channel(false);
    let counted = Arc::clone(&crowd);
    let handler = move |_, ctx: Context| {
        let (crowd, mut open) = (Arc::clone(&counted), open.clone());
        async move {
            crowd.lock().unwrap().enter(ctx.queue());
            open.wait_for(|open| *open).await.unwrap();
            tokio::task::yield_now().await;
            crowd.lock().unwrap().leave(ctx.queue());
            Ok::<_, String>(())
        }
    };
    (worker(db, handler), crowd, gate)
}

/// Waits until so many handlers have begun.
async fn wait_for_crowd(crowd: &Mutex<Crowd>, jobs: usize) {
    let reached = async || crowd.lock().unwrap().most_in_all >= jobs;
    wait_until(&format!("{jobs} jobs run at once"), reached).await;
}

fn many(count: usize, queue: &str) -> Vec<NewJob> {
    (0..count).map(|_| job().queue(queue)).collect()
}

#[tokio::test]
async fn no_more_jobs_run_at_once_than_the_worker_may() {
    let db = TestDatabase::migrated();
    let (builder, crowd, gate) = gated(&db);
    pgqueue_core::enqueue_all(&mut db.sync(), many(60, "default")).unwrap();
    let running = Running::start(builder.concurrency(7));
    wait_for_crowd(&crowd, 7).await;

    pgqueue_core::enqueue_all(&mut db.sync(), many(60, "default")).unwrap();
    gate.send(true).unwrap();
    db.wait_for_count(JobState::Completed, 120).await;

    assert_eq!(crowd.lock().unwrap().most_in_all, 7);
    running.stop().await;
}

#[tokio::test]
async fn no_more_jobs_of_a_queue_run_at_once_than_it_may() {
    let db = TestDatabase::migrated();
    let (builder, crowd, gate) = gated(&db);
    for queue in ["narrow", "wide"] {
        pgqueue_core::enqueue_all(&mut db.sync(), many(40, queue)).unwrap();
    }
    let builder = builder.concurrency(6).queue("narrow", 2).queue("wide", 5);
    let running = Running::start(builder);
    wait_for_crowd(&crowd, 6).await;

    gate.send(true).unwrap();
    db.wait_for_count(JobState::Completed, 80).await;

    running.stop().await;
    let crowd = crowd.lock().unwrap();
    assert_eq!(crowd.most["narrow"], 2);
    assert!((4..=5).contains(&crowd.most["wide"]));
    assert_eq!(crowd.most_in_all, 6);
}

#[tokio::test]
async fn a_job_that_comes_while_another_queue_drains_need_not_wait_for_its_end() {
    for limits in [(4, 4), (2, 4)] {
        let db = TestDatabase::migrated();
        let deep = (0..20_000).map(|_| job().queue("deep"));
        pgqueue_core::enqueue_all(&mut db.sync(), deep.collect::<Vec<_>>()).unwrap();
        let handler = async |_: pgqueue_core::RawJob, _: Context| {
            tokio::time::sleep(Duration::from_millis(1)).await;
            Ok::<_, String>(())
        };
        let builder = worker(&db, handler).concurrency(4);
        let running = Running::start(builder.queue("deep", limits.0).queue("shallow", limits.1));
        let completed = "SELECT count(*) FROM pgqueue_jobs WHERE state = 'completed'";
        wait_until("deep jobs are claimed ahead", async || {
            db.number(completed) > 1000
        })
        .await;

        for max_retries in [3, 0] {
            let id = enqueue(&db, job().queue("shallow").max_retries(max_retries));
            db.wait_for_state(id, JobState::Completed).await;
        }

        let left = "SELECT count(*) FROM pgqueue_jobs WHERE state <> 'completed'";
        assert!(
            db.number(left) > 0,
            "{limits:?}: it waited for all of the deep queue"
        );
        running.stop_now().await;
    }
}

#[tokio::test]
async fn a_deep_queue_does_not_starve_a_shallow_one() {
    let db = TestDatabase::migrated();
    let order = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&order);
    let handler = move |_, ctx: Context| {
        seen.lock().unwrap().push(ctx.queue().to_owned());
        async { Ok::<_, String>(()) }
    };
    pgqueue_core::enqueue_all(&mut db.sync(), many(300, "deep")).unwrap();
    pgqueue_core::enqueue_all(&mut db.sync(), many(10, "shallow")).unwrap();

    let worker = worker(&db, handler)
        .concurrency(1)
        .queue("deep", 1)
        .queue("shallow", 1)
        .build();
    worker.unwrap().run_until_empty().await.unwrap();

    let order = order.lock().unwrap();
    assert_eq!(order.len(), 310);
    let last = order.iter().rposition(|queue| queue == "shallow");
    assert!(last.unwrap() < 30, "{order:?}");
}

#[tokio::test]
async fn a_paused_queue_is_left_alone_until_it_is_resumed() {
    let db = TestDatabase::migrated();
    let builder = worker(&db, async |_, _| Ok::<_, String>(()));
    let running = Running::start(builder.queue("mail", 5).queue("default", 5));
    let paused = admin::pause("mail").run(&mut db.sync()).unwrap();
    let again = admin::pause("mail").run(&mut db.sync()).unwrap();

    let mail = enqueue(&db, job().queue("mail"));
    for _ in 0..5 {
        // The worker claims again and again, of both queues.
        let other = enqueue(&db, job());
        db.wait_for_state(other, JobState::Completed).await;
    }

    assert_eq!((paused, again), (true, false));
    let row = db.job(mail);
    assert_eq!((row.state, row.fencing_token), (JobState::Pending, 0));
    admin::resume("mail").run(&mut db.sync()).unwrap();
    db.wait_for_state(mail, JobState::Completed).await;
    running.stop().await;
}

#[derive(Serialize, Deserialize)]
struct Letter;

impl Job for Letter {
    const KIND: &'static str = "letter";
    const QUEUE: &'static str = "mail";
}

#[tokio::test]
async fn the_queue_of_a_handled_type_is_served_without_a_word() {
    let db = TestDatabase::migrated();
    let letter = enqueue(&db, Letter.to_new());

    let worker = Worker::builder(db.url()).handle(async |_: Letter, _| Ok::<_, String>(()));
    worker.build().unwrap().run_until_empty().await.unwrap();

    assert_eq!(db.job(letter).state, JobState::Completed);
}

#[tokio::test]
async fn only_the_named_queues_are_served() {
    let db = TestDatabase::migrated();
    let letter = enqueue(&db, Letter.to_new());
    let elsewhere = enqueue(&db, Letter.to_new().queue("default"));

    let worker = Worker::builder(db.url())
        .handle(async |_: Letter, _| Ok::<_, String>(()))
        .only_queues(["mail"]);
    worker.build().unwrap().run_until_empty().await.unwrap();

    assert_eq!(db.job(letter).state, JobState::Completed);
    assert_eq!(db.job(elsewhere).state, JobState::Pending);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_workers_never_run_a_job_twice() {
    let db = TestDatabase::migrated();
    db.execute("CREATE TABLE runs (job_id bigint NOT NULL, token bigint NOT NULL)");
    let handler = async |_, ctx: Context| {
        let mut conn = ctx.connection().await?;
        let run = sql_query("INSERT INTO runs (job_id, token) VALUES ($1, $2)")
            .bind::<BigInt, _>(ctx.id())
            .bind::<BigInt, _>(ctx.fencing_token());
        diesel_async::RunQueryDsl::execute(run, &mut *conn).await?;
        Ok::<_, BoxError>(())
    };
    let start = || Running::start(worker(&db, handler).concurrency(20));
    let workers = [start(), start()];

    for part in 0..4 {
        let queue = if part % 2 == 0 { "default" } else { "other" };
        pgqueue_core::enqueue_all(&mut db.sync(), many(500, queue)).unwrap();
    }
    let other = worker(&db, handler).only_queues(["other"]);
    let third = Running::start(other.poll_interval(Duration::from_millis(10)));
    db.wait_for_count(JobState::Completed, 2000).await;

    // Not by token: what was claimed ahead and given back unstarted has a higher one at its only run.
    let distinct = "SELECT count(DISTINCT job_id) FROM runs";
    assert_eq!(db.number("SELECT count(*) FROM runs"), 2000);
    assert_eq!(db.number(distinct), 2000);
    let burnt = "SELECT count(*) FROM pgqueue_jobs WHERE attempt <> 1 OR lost <> 0";
    assert_eq!(db.number(burnt), 0);
    for running in workers.into_iter().chain([third]) {
        running.stop().await;
    }
}

#[tokio::test]
async fn a_worker_takes_over_what_another_has_no_slot_for() {
    let db = TestDatabase::migrated();
    let (builder, _, gate) = gated(&db);
    let full = Running::start(builder.concurrency(1));
    enqueue(&db, job());
    db.wait_for_count(JobState::Running, 1).await;
    let free = Running::start(worker(&db, async |_, _| Ok::<_, String>(())));

    let id = enqueue(&db, NewJob::new("job", json!({})));

    db.wait_for_state(id, JobState::Completed).await;
    assert_eq!(db.count(JobState::Running), 1);
    gate.send(true).unwrap();
    wait_until("nothing runs", async || db.count(JobState::Running) == 0).await;
    full.stop().await;
    free.stop().await;
}

#[tokio::test]
async fn a_batch_smaller_than_the_slots_fills_them_all_the_same() {
    let db = TestDatabase::migrated();
    let (builder, crowd, gate) = gated(&db);
    pgqueue_core::enqueue_all(&mut db.sync(), many(50, "default")).unwrap();

    let running = Running::start(builder.concurrency(20).batch(3).poll_interval(HOUR));
    wait_for_crowd(&crowd, 20).await;
    gate.send(true).unwrap();
    db.wait_for_count(JobState::Completed, 50).await;

    assert_eq!(crowd.lock().unwrap().most_in_all, 20);
    running.stop().await;
}
