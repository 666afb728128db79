//! When a worker claims: what wakes an idle one, what it leaves waiting, and in which order it takes.
//!
//! Workers here poll once an hour. Beside notifications they only look again 10 ms after they fell asleep, 20 ms after
//! that, 40 ms …: a chain of [`CHAIN`] jobs, each made when the one before has ended, outlasts all of these looks that
//! come within a test's patience. That a single way of making jobs due notifies is heard by an [`Ear`].

use std::sync::{Arc, Mutex};
use std::time::Duration;

use chrono::{TimeDelta, Utc};
use diesel::prelude::*;
use pgqueue_core::schema::pgqueue_jobs;
use pgqueue_core::{Context, JobState, NewJob, Outcome, RawJob, Worker, admin};
use pgqueue_suite::{TestDatabase, wait_until};
use serde_json::json;
use tokio::sync::Notify;
use tokio::sync::mpsc::unbounded_channel;

use crate::{Ear, HOUR, LISTENER, Running, enqueue, job, wait_until_listening, worker};

/// 10 ms doubled so often is half an hour.
const CHAIN: usize = 18;

/// An idle worker that completes every job, and an ear beside it.
struct Idle {
    db: TestDatabase,
    ear: Ear,
    running: Running,
}

impl Idle {
    async fn on(db: TestDatabase) -> Self {
        let running = Running::start(worker(&db, async |_, _| Ok::<_, String>(())));
        wait_until_idle(&db).await;
        let ear = Ear::open(&db, "pgqueue.public").await;
        Self { db, ear, running }
    }

    async fn runs(mut self, id: i64) {
        self.ear.hears("default").await;
        self.db.wait_for_state(id, JobState::Completed).await;
        self.running.stop().await;
    }
}

async fn wait_until_idle(db: &TestDatabase) {
    wait_until_listening(db).await;
    let wanted = "SELECT count(*) FROM pgqueue_wake WHERE wanted";
    wait_until("notifications are wanted", async || db.number(wanted) > 0).await;
}

/// Inserts a job by SQL and gives its id.
fn insert(db: &TestDatabase, columns: &str, values: &str) -> i64 {
    let statement = format!(
        "INSERT INTO pgqueue_jobs (kind, payload, {columns}) VALUES ('job', '{{}}', {values}) RETURNING id"
    );
    diesel::dsl::sql::<diesel::sql_types::BigInt>(&statement)
        .get_result(&mut db.sync())
        .unwrap()
}

#[tokio::test]
async fn jobs_enqueued_one_after_the_other_each_wake_an_idle_worker() {
    let db = TestDatabase::migrated();
    let running = Running::start(worker(&db, async |_, _| Ok::<_, String>(())));
    wait_until_idle(&db).await;
    let mark = "SELECT xmin::text::bigint FROM pgqueue_wake";
    let set = db.number(mark);

    for _ in 0..2 * CHAIN {
        let id = enqueue(&db, job());
        db.wait_for_state(id, JobState::Completed).await;
    }

    assert_eq!(
        db.number(mark),
        set,
        "the worker never went over to polling"
    );
    running.stop().await;
}

#[tokio::test]
async fn a_worker_of_one_slot_keeps_its_mark_while_jobs_come_one_by_one() {
    let db = TestDatabase::migrated();
    let running = Running::start(worker(&db, async |_, _| Ok::<_, String>(())).concurrency(1));
    wait_until_idle(&db).await;
    db.execute(
        "CREATE SEQUENCE mark_writes;
         CREATE FUNCTION count_write() RETURNS trigger LANGUAGE plpgsql AS
             $$ BEGIN PERFORM nextval('mark_writes'); RETURN NEW; END $$;
         CREATE TRIGGER count_write BEFORE UPDATE ON pgqueue_wake FOR EACH ROW EXECUTE FUNCTION count_write()",
    );

    let mut conn = db.sync();
    for _ in 0..60 {
        job().enqueue(&mut conn).unwrap();
        tokio::time::sleep(Duration::from_millis(60)).await; // a mark that was cleared is set again in such a pause
    }
    db.wait_for_count(JobState::Completed, 60).await;

    let writes =
        db.number("SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM mark_writes");
    assert_eq!(writes, 0, "each claim is full, and the next finds nothing");
    running.stop().await;
}

#[tokio::test]
async fn a_sync_enqueue_wakes_an_idle_worker() {
    let idle = Idle::on(TestDatabase::migrated()).await;
    let id = enqueue(&idle.db, job());
    idle.runs(id).await;
}

#[tokio::test]
async fn an_async_enqueue_wakes_an_idle_worker() {
    let idle = Idle::on(TestDatabase::migrated()).await;
    let mut conn = idle.db.asynchronous().await;
    let id = job().enqueue_async(&mut conn).await.unwrap().id;
    idle.runs(id).await;
}

#[tokio::test]
async fn a_bulk_enqueue_wakes_an_idle_worker() {
    let idle = Idle::on(TestDatabase::migrated()).await;
    let jobs = vec![job(), job(), job()];
    let enqueued = pgqueue_core::enqueue_all(&mut idle.db.sync(), jobs).unwrap();
    idle.runs(enqueued[2].id).await;
}

#[tokio::test]
async fn a_job_inserted_by_diesel_wakes_an_idle_worker() {
    let idle = Idle::on(TestDatabase::migrated()).await;
    let id = diesel::insert_into(pgqueue_jobs::table)
        .values(job())
        .returning(pgqueue_jobs::id)
        .get_result(&mut idle.db.sync())
        .unwrap();
    idle.runs(id).await;
}

#[tokio::test]
async fn a_job_inserted_by_plain_sql_wakes_an_idle_worker() {
    let idle = Idle::on(TestDatabase::migrated()).await;
    let id = insert(&idle.db, "priority", "5");
    idle.runs(id).await;
}

#[tokio::test]
async fn a_requeue_wakes_an_idle_worker() {
    let db = TestDatabase::migrated();
    let id = insert(&db, "state, finished_at", "'dead', now()");
    let idle = Idle::on(db).await;

    let done = admin::requeue(id).run(&mut idle.db.sync()).unwrap();

    assert_eq!(done.changed, 1);
    idle.runs(id).await;
}

#[tokio::test]
async fn running_a_scheduled_job_now_wakes_an_idle_worker() {
    let db = TestDatabase::migrated();
    let id = enqueue(&db, job().delay(24 * HOUR));
    let idle = Idle::on(db).await;

    let done = admin::run_now(id).run(&mut idle.db.sync()).unwrap();

    assert_eq!(done.changed, 1);
    idle.runs(id).await;
}

#[tokio::test]
async fn an_sql_update_of_run_at_wakes_an_idle_worker() {
    let db = TestDatabase::migrated();
    let id = enqueue(&db, job().delay(24 * HOUR));
    let idle = Idle::on(db).await;

    idle.db.execute("UPDATE pgqueue_jobs SET run_at = now()");

    idle.runs(id).await;
}

#[tokio::test]
async fn an_sql_update_of_queue_wakes_an_idle_worker() {
    let db = TestDatabase::migrated();
    let id = enqueue(&db, job().queue("elsewhere"));
    let idle = Idle::on(db).await;

    idle.db.execute("UPDATE pgqueue_jobs SET queue = 'default'");

    idle.runs(id).await;
}

#[tokio::test]
async fn resuming_a_queue_wakes_an_idle_worker() {
    let db = TestDatabase::migrated();
    admin::pause("default").run(&mut db.sync()).unwrap();
    let id = enqueue(&db, job());
    let idle = Idle::on(db).await;

    assert!(admin::resume("default").run(&mut idle.db.sync()).unwrap());

    idle.runs(id).await;
}

#[tokio::test]
async fn the_end_of_a_snooze_and_of_a_retry_wakes_an_idle_worker() {
    let db = TestDatabase::migrated();
    let (ran, mut runs) = unbounded_channel();
    let moment = Duration::from_millis(20);
    let handler = move |_, ctx: Context| {
        let token = usize::try_from(ctx.fencing_token()).unwrap();
        ran.send(token).unwrap();
        async move {
            match token {
                CHAIN.. => Ok(Outcome::done()),
                _ if token % 2 == 0 => Ok(Outcome::snooze(moment)),
                _ if token % 3 == 0 => Ok(Outcome::retry_after(moment, "later")),
                _ => Err("once more"),
            }
        }
    };
    let running = Running::start(worker(&db, handler).retry_base_wait(Duration::ZERO));
    wait_until_idle(&db).await;

    let id = enqueue(&db, job().max_retries(1000));

    for token in 1..=CHAIN {
        assert_eq!(runs.recv().await, Some(token));
    }
    db.wait_for_state(id, JobState::Completed).await;
    running.stop().await;
}

#[tokio::test]
async fn a_job_released_by_another_workers_shutdown_wakes_an_idle_worker() {
    let db = TestDatabase::migrated();
    let (started, mut starts) = unbounded_channel();
    let busy = Running::start(worker(&db, move |_, _| {
        started.send(()).unwrap();
        async { std::future::pending::<Result<(), String>>().await }
    }));
    let id = enqueue(&db, job());
    starts.recv().await.unwrap();
    let idle = Idle::on(db).await;

    busy.stop_now().await;

    let db = &idle.db;
    let row = db.wait_for_state(id, JobState::Completed).await;
    assert_eq!((row.attempt, row.fencing_token), (1, 2), "not burnt");
    idle.runs(id).await;
}

#[tokio::test]
async fn a_job_whose_transaction_began_before_the_worker_fell_asleep_is_found() {
    let db = TestDatabase::migrated();
    let mut late = db.sync();
    let begin = |conn: &mut PgConnection, statement| {
        diesel::connection::SimpleConnection::batch_execute(conn, statement).unwrap();
    };
    begin(&mut late, "BEGIN");
    let id = job().enqueue(&mut late).unwrap().id;
    let running = Running::start(worker(&db, async |_, _| Ok::<_, String>(())));
    wait_until_idle(&db).await;

    begin(&mut late, "COMMIT");

    db.wait_for_state(id, JobState::Completed).await;
    running.stop().await;
}

#[tokio::test]
async fn a_job_whose_transaction_looks_at_an_old_snapshot_is_found() {
    let db = TestDatabase::migrated();
    let mut late = db.sync();
    let run = |conn: &mut PgConnection, statement| {
        diesel::connection::SimpleConnection::batch_execute(conn, statement).unwrap();
    };
    run(&mut late, "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1");
    let running = Running::start(worker(&db, async |_, _| Ok::<_, String>(())));
    wait_until_idle(&db).await;
    let mut ear = Ear::open(&db, "pgqueue.public").await;

    let id = job().enqueue(&mut late).unwrap().id;
    run(&mut late, "COMMIT");

    db.wait_for_state(id, JobState::Completed).await;
    db.execute("NOTIFY \"pgqueue.public\", 'the end of the test'");
    assert_eq!(
        ear.next().await,
        "the end of the test",
        "it announced nothing"
    );
    running.stop().await;
}

#[tokio::test]
async fn a_job_enqueued_while_another_worker_had_cleared_the_mark_is_found() {
    let db = TestDatabase::migrated();
    let running = Running::start(worker(&db, async |_, _| Ok::<_, String>(())));
    wait_until_idle(&db).await;
    let mut late = db.sync();
    let run = |conn: &mut PgConnection, statement| {
        diesel::connection::SimpleConnection::batch_execute(conn, statement).unwrap();
    };
    // As a busy worker does: it clears the mark, and sets it again when it is quiet.
    db.execute("UPDATE pgqueue_wake SET wanted = false");
    run(&mut late, "BEGIN");
    let straddling = job().enqueue(&mut late).unwrap().id;
    let before = enqueue(&db, job());
    let busy = Running::start(worker(&db, async |_, _| Ok::<_, String>(())));
    db.wait_for_state(before, JobState::Completed).await;
    wait_until_idle(&db).await;

    run(&mut late, "COMMIT");

    db.wait_for_state(straddling, JobState::Completed).await;
    running.stop().await;
    busy.stop().await;
}

#[tokio::test]
async fn a_worker_that_set_a_mark_and_is_full_asks_the_others_to_repoll() {
    let db = TestDatabase::migrated();
    enqueue(&db, job());
    let mut ear = Ear::open(&db, "pgqueue.public").await;
    let full = worker(&db, async |_, _| {
        std::future::pending::<Result<(), String>>().await
    });
    let full = Running::start(full.concurrency(1));

    assert_eq!(ear.next().await, "default", "it has set the mark");
    assert_eq!(ear.next().await, "", "it cannot re-poll");

    full.stop_now().await;
}

#[tokio::test]
async fn a_worker_that_is_asked_to_repoll_finds_what_commits_in_silence_soon_after() {
    let db = TestDatabase::migrated();
    let running = Running::start(worker(&db, async |_, _| Ok::<_, String>(())));
    wait_until_idle(&db).await;

    for _ in 0..CHAIN {
        db.execute("NOTIFY \"pgqueue.public\", ''");
        tokio::time::sleep(Duration::from_millis(100)).await; // it has looked because it was woken, and swept
        db.execute(
            "BEGIN; SET LOCAL pgqueue.looked = 'pgqueue.public default';
             INSERT INTO pgqueue_jobs (kind, payload) VALUES ('job', '{}'); COMMIT",
        );
        db.wait_for_count(JobState::Pending, 0).await;
    }

    running.stop().await;
}

#[tokio::test]
async fn scheduled_jobs_run_when_they_are_due_and_not_before() {
    let db = TestDatabase::migrated();
    let running = Running::start(worker(&db, async |_, _| Ok::<_, String>(())));
    wait_until_idle(&db).await;

    for n in 0..CHAIN {
        let soon = Duration::from_millis(150);
        let new = match n % 2 {
            0 => job().delay(soon),
            _ => job().run_at(Utc::now() + soon),
        };
        let id = enqueue(&db, new);
        let row = db.wait_for_state(id, JobState::Completed).await;
        assert!(row.started_at.unwrap() >= row.run_at);
    }

    running.stop().await;
}

#[tokio::test]
async fn a_scheduled_job_does_not_wait_for_another_queue_that_is_full() {
    let db = TestDatabase::migrated();
    let (started, mut starts) = unbounded_channel();
    let handler = move |_, ctx: Context| {
        let started = started.clone();
        async move {
            if ctx.queue() == "full" {
                started.send(()).unwrap();
                std::future::pending::<()>().await;
            }
            Ok::<_, String>(())
        }
    };
    let builder = worker(&db, handler).queue("full", 1).queue("default", 5);
    for _ in 0..3 {
        enqueue(&db, job().queue("full"));
    }
    let running = Running::start(builder);
    starts.recv().await.unwrap();
    wait_until_idle(&db).await;

    for _ in 0..CHAIN {
        let id = enqueue(&db, job().delay(Duration::from_millis(150)));
        db.wait_for_state(id, JobState::Completed).await;
    }

    running.stop_now().await;
}

#[tokio::test]
async fn jobs_that_lost_a_process_run_one_after_the_other_without_a_poll() {
    let db = TestDatabase::migrated();
    let at_once = Arc::new(Mutex::new(0));
    let handler = move |_, _| {
        let at_once = Arc::clone(&at_once);
        async move {
            *at_once.lock().unwrap() += 1;
            tokio::task::yield_now().await;
            let mut now = at_once.lock().unwrap();
            let alone = *now == 1;
            *now -= 1;
            alone.then_some(()).ok_or("not alone")
        }
    };
    let running = Running::start(worker(&db, handler));
    wait_until_idle(&db).await;

    db.execute(&format!(
        "INSERT INTO pgqueue_jobs (kind, payload, lost) SELECT 'job', '{{}}', 1 FROM generate_series(1, {CHAIN})"
    ));

    db.wait_for_count(JobState::Completed, i64::try_from(CHAIN).unwrap())
        .await;
    running.stop().await;
}

#[tokio::test]
async fn a_job_that_lost_a_process_runs_when_its_wait_is_over() {
    let db = TestDatabase::migrated();
    let running = Running::start(worker(&db, async |_, _| Ok::<_, String>(())));
    wait_until_idle(&db).await;

    // Each takes a second: such jobs are looked for no more often.
    for _ in 0..CHAIN / 2 + 1 {
        let id = insert(&db, "lost, run_at", "1, now() + interval '50 milliseconds'");
        db.wait_for_state(id, JobState::Completed).await;
    }

    running.stop().await;
}

#[tokio::test]
async fn a_worker_whose_listener_is_dead_polls_and_listens_again() {
    let db = TestDatabase::migrated();
    let builder = worker(&db, async |_, _| Ok::<_, String>(()));
    let running = Running::start(builder.poll_interval(Duration::from_millis(50)));
    wait_until_idle(&db).await;

    let listener = db.number(&format!("SELECT pid {LISTENER}"));
    db.execute(&format!("SELECT pg_terminate_backend({listener})"));
    let id = enqueue(&db, job());

    db.wait_for_state(id, JobState::Completed).await;
    wait_until_listening(&db).await;
    assert_ne!(db.number(&format!("SELECT pid {LISTENER}")), listener);
    running.stop().await;
}

#[tokio::test]
async fn a_worker_that_listens_again_makes_up_for_what_it_missed() {
    let db = TestDatabase::migrated();
    let running = Running::start(worker(&db, async |_, _| Ok::<_, String>(())));
    wait_until_idle(&db).await;

    for _ in 0..CHAIN {
        wait_until_listening(&db).await;
        db.execute(&format!("SELECT pg_terminate_backend(pid) {LISTENER}"));
        let id = enqueue(&db, job());
        db.wait_for_state(id, JobState::Completed).await;
    }

    running.stop().await;
}

#[tokio::test]
async fn one_worker_takes_jobs_by_priority_then_by_time_then_by_id() {
    let db = TestDatabase::migrated();
    let order = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&order);
    let handler = move |_: RawJob, ctx: Context| {
        seen.lock().unwrap().push(ctx.id());
        async { Ok::<_, String>(()) }
    };
    let now = Utc::now();
    let jobs = (0..60).map(|n: i32| {
        let ago = TimeDelta::seconds(i64::from(n * 7 % 4));
        job()
            .priority(i16::try_from(n * 3 % 10).unwrap())
            .run_at(now - ago)
    });
    pgqueue_core::enqueue_all(&mut db.sync(), jobs.collect::<Vec<NewJob>>()).unwrap();

    let worker = worker(&db, handler).concurrency(1).build().unwrap();
    worker.run_until_empty().await.unwrap();

    let mut rows = db.jobs();
    rows.sort_by_key(|row| (row.priority, row.run_at, row.id));
    let expected: Vec<i64> = rows.iter().map(|row| row.id).collect();
    assert_eq!(*order.lock().unwrap(), expected);
}

#[tokio::test]
async fn a_more_urgent_job_goes_before_those_that_wait() {
    let db = TestDatabase::migrated();
    let (gate, order) = (Arc::new(Notify::new()), Arc::new(Mutex::new(Vec::new())));
    let (open, seen) = (Arc::clone(&gate), Arc::clone(&order));
    let handler = move |job: RawJob, _| {
        seen.lock().unwrap().push(job.payload);
        let gate = Arc::clone(&open);
        async move {
            gate.notified().await;
            Ok::<_, String>(())
        }
    };
    let named = |name: &str| NewJob::new("job", json!(name));
    let first = enqueue(&db, named("first"));
    let second = enqueue(&db, named("second"));
    let running = Running::start(worker(&db, handler).concurrency(1));
    db.wait_for_state(first, JobState::Running).await;

    let urgent = enqueue(&db, named("urgent").priority(0));
    for id in [first, urgent, second] {
        db.wait_for_state(id, JobState::Running).await;
        gate.notify_one();
        db.wait_for_state(id, JobState::Completed).await;
    }

    assert_eq!(*order.lock().unwrap(), ["first", "urgent", "second"]);
    running.stop().await;
}

#[tokio::test]
async fn a_schema_is_a_queue_of_its_own() {
    // A schema is a queue of its own: what is announced in one does not wake, and is not run, in the other.
    let db = TestDatabase::migrated();
    db.execute("CREATE SCHEMA tenant");
    let tenant = format!("{}?options=-csearch_path%3Dtenant", db.url());
    let mut conn = PgConnection::establish(&tenant).unwrap();
    pgqueue_core::migrate(&mut conn).unwrap();
    let builder = Worker::builder(tenant.as_str())
        .handle_kind("job", async |_, _| Ok::<_, String>("tenant"))
        .poll_interval(HOUR);
    let running = Running::start(builder);

    let ours = enqueue(&db, job());
    let theirs = job().enqueue(&mut conn).unwrap().id;

    let done = format!(
        "SELECT count(*) FROM tenant.pgqueue_jobs WHERE id = {theirs} AND output = '\"tenant\"'"
    );
    wait_until("the tenant's job has run", async || db.number(&done) == 1).await;
    assert_eq!(db.job(ours).state, JobState::Pending);
    running.stop().await;
}

#[tokio::test]
async fn the_report_on_postgresql_counts_a_worker_that_listens() {
    let db = TestDatabase::migrated();
    let running = Running::start(worker(&db, async |_, _| Ok::<_, String>(())));
    wait_until_listening(&db).await;

    let report = pgqueue_core::health::report(&mut db.sync()).unwrap();

    assert_eq!(report.server.unwrap().listeners, 1);
    running.stop().await;
}
