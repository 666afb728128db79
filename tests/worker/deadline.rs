//! Runs that take too long.

use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use diesel::prelude::*;
use pgqueue_core::{
    Context, Error, ErrorKind, Job, JobState, NewJob, RawJob, Worker, WorkerBuilder, admin,
};
use pgqueue_suite::{TestDatabase, wait_until};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

use crate::{HOUR, Running, enqueue, errors, job, last_error, run_one, wait_for_failures, worker};

/// Short enough to be waited for, long enough to start a handler in.
const SHORT: Duration = Duration::from_millis(50);

/// Sends a message when it is dropped.
struct Dropped(UnboundedSender<()>);

impl Drop for Dropped {
    fn drop(&mut self) {
        let _receiver_has_gone = self.0.send(());
    }
}

#[tokio::test]
async fn an_async_handler_that_never_ends_is_aborted_and_retried() {
    let db = TestDatabase::migrated();
    let (dropped, mut drops) = unbounded_channel();
    let handler = move |_, ctx: Context| {
        let guard = Dropped(dropped.clone());
        async move {
            if ctx.attempt() == 1 {
                std::future::pending::<()>().await;
            }
            drop(guard);
            Ok::<_, String>(())
        }
    };
    let running = Running::start(
        worker(&db, handler)
            .timeout(SHORT)
            .stop_wait(Duration::ZERO),
    );

    let id = enqueue(&db, job());

    drops.recv().await.unwrap();
    let row = wait_for_failures(&db, id, 1).await;
    assert_eq!(
        (row.state, errors(&row)[0].kind.as_str()),
        (JobState::Pending, "timeout")
    );
    assert!(last_error(&row).contains("longer than its timeout of 50"));
    admin::run_now(id).run(&mut db.sync()).unwrap();
    let row = db.wait_for_state(id, JobState::Completed).await;
    assert_eq!(row.attempt, 2);
    running.stop().await;
}

#[tokio::test]
async fn an_aborted_handler_that_panics_in_drop_gives_its_slot_back() {
    struct PanicsInDrop;
    impl Drop for PanicsInDrop {
        fn drop(&mut self) {
            panic!("in drop");
        }
    }
    let db = TestDatabase::migrated();
    let handler = async |job: RawJob, _| {
        if job.payload["hangs"] == true {
            let _guard = PanicsInDrop;
            std::future::pending::<()>().await;
        }
        Ok::<_, String>(())
    };
    let builder = worker(&db, handler)
        .concurrency(1)
        .timeout(SHORT)
        .stop_wait(Duration::ZERO);
    let hanging = enqueue(&db, NewJob::new("job", json!({"hangs": true})));

    let next = run_one(&db, builder, job()).await;

    assert_eq!(next.state, JobState::Completed);
    let row = db.job(hanging);
    assert_eq!(
        (row.state, errors(&row)[0].kind.as_str()),
        (JobState::Pending, "timeout")
    );
}

/// Blocks a thread until it is released.
#[derive(Serialize, Deserialize)]
struct Stubborn;

impl Job for Stubborn {
    const KIND: &'static str = "stubborn";
    const QUEUE: &'static str = "slow";
    const MAX_RETRIES: i32 = 0;
}

/// What the test and the blocking handler tell each other.
struct Blocked {
    started: UnboundedSender<()>,
    release: Mutex<mpsc::Receiver<()>>,
    late: UnboundedSender<ErrorKind>,
    url: String,
}

fn block(_: Stubborn, ctx: Context<Arc<Blocked>>) -> Result<(), Error> {
    let blocked = ctx.state();
    blocked.started.send(()).unwrap();
    blocked.release.lock().unwrap().recv().unwrap();
    let mut conn = PgConnection::establish(&blocked.url).unwrap();
    let late = ctx.complete_in(&mut conn);
    if let Some(error) = late.as_ref().err().and_then(Error::of) {
        blocked.late.send(error.kind()).unwrap();
    }
    Ok(())
}

#[tokio::test]
async fn a_blocking_handler_that_does_not_stop_loses_its_job_and_keeps_its_slot() {
    let db = TestDatabase::migrated();
    let (started, mut starts) = unbounded_channel();
    let (release, released) = mpsc::channel();
    let (late, mut lates) = unbounded_channel();
    let state = Arc::new(Blocked {
        started,
        release: Mutex::new(released),
        late,
        url: db.url().to_owned(),
    });
    let builder = Worker::builder(db.url())
        .state(state)
        .handle_blocking(block)
        .handle_kind("quick", async |_, _| Ok::<_, String>(()))
        .queue("slow", 1)
        .queue("default", 1)
        .poll_interval(HOUR)
        .stop_wait(Duration::ZERO);
    let running = Running::start(builder);

    let first = enqueue(&db, Stubborn.to_new().timeout(SHORT));
    starts.recv().await.unwrap();
    let ended = db.wait_for_state(first, JobState::Dead).await;
    let second = enqueue(&db, Stubborn.to_new());
    for _ in 0..3 {
        // The worker claims again and again, and could claim the second.
        let quick = enqueue(&db, NewJob::new("quick", json!({})));
        db.wait_for_state(quick, JobState::Completed).await;
    }
    let waiting = db.job(second);
    release.send(()).unwrap();
    starts.recv().await.unwrap();
    release.send(()).unwrap();
    let second = db.wait_for_state(second, JobState::Completed).await;

    assert_eq!(errors(&ended)[0].kind, "timeout");
    assert_eq!((waiting.state, waiting.attempt), (JobState::Pending, 0));
    assert_eq!(lates.recv().await, Some(ErrorKind::LeaseLost));
    assert_eq!(db.job(first), ended, "the late end changed nothing");
    assert_eq!(second.attempt, 1);
    running.stop().await;
}

#[tokio::test]
async fn no_second_suspect_runs_beside_the_thread_of_one_that_was_ended() {
    let db = TestDatabase::migrated();
    let (started, mut starts) = unbounded_channel();
    let (release, released) = mpsc::channel::<()>();
    let released = Mutex::new(released);
    let handler = move |_: Stubborn, ctx: Context| {
        started.send(ctx.id()).unwrap();
        released.lock().unwrap().recv()
    };
    let builder = Worker::builder(db.url())
        .handle_blocking(handler)
        .handle_kind("quick", async |_, _| Ok::<_, String>(()))
        .poll_interval(Duration::from_millis(20))
        .stop_wait(Duration::ZERO);
    let first = enqueue(&db, Stubborn.to_new().timeout(SHORT));
    db.execute("UPDATE pgqueue_jobs SET lost = 1");

    let running = Running::start(builder);
    db.wait_for_state(first, JobState::Dead).await;
    db.execute("INSERT INTO pgqueue_jobs (queue, kind, payload, lost) VALUES ('slow', 'stubborn', 'null', 1)");
    let second = db.number("SELECT max(id) FROM pgqueue_jobs");
    let passed = "SELECT count(*) FROM pgqueue_jobs WHERE state = 'dead' AND finished_at < clock_timestamp() - interval '3 seconds'";
    wait_until("suspects were looked for", async || db.number(passed) == 1).await;
    let waiting = db.job(second);
    release.send(()).unwrap();
    release.send(()).unwrap();
    db.wait_for_state(second, JobState::Completed).await;

    assert_eq!((waiting.state, waiting.attempt), (JobState::Pending, 0));
    assert_eq!(starts.recv().await, Some(first));
    assert_eq!(starts.recv().await, Some(second));
    running.stop().await;
}

async fn stop_at_once(_: RawJob, ctx: Context) -> Result<&'static str, String> {
    ctx.cancellation().cancelled().await;
    Ok("stopped in time")
}

#[tokio::test]
async fn a_handler_that_stops_at_its_deadline_and_says_ok_has_completed() {
    let db = TestDatabase::migrated();
    let builder: WorkerBuilder = worker(&db, stop_at_once).timeout(SHORT).stop_wait(HOUR);

    let row = run_one(&db, builder, job()).await;

    assert_eq!(row.state, JobState::Completed);
    assert_eq!(row.output, Some(json!("stopped in time")));
}

#[tokio::test]
async fn a_handler_that_stops_at_its_deadline_with_an_error_has_timed_out() {
    let db = TestDatabase::migrated();
    let handler = async |_, ctx: Context| {
        ctx.cancellation().cancelled().await;
        Err::<(), _>("half of it is done")
    };
    let builder = worker(&db, handler).timeout(SHORT).stop_wait(HOUR);

    let row = run_one(&db, builder, job()).await;

    assert_eq!(errors(&row)[0].kind, "timeout");
    assert_eq!(
        last_error(&row),
        "stopped at its deadline: half of it is done"
    );
}

#[tokio::test]
async fn a_blocking_handler_that_asks_stops_at_its_deadline() {
    let db = TestDatabase::migrated();
    let handler = |_: Stubborn, ctx: Context| {
        while !ctx.is_cancelled() {
            std::thread::yield_now();
        }
        Ok::<_, String>("stopped in time")
    };
    let builder = Worker::builder(db.url())
        .handle_blocking(handler)
        .timeout(SHORT)
        .stop_wait(HOUR);

    let row = run_one(&db, builder, Stubborn.to_new()).await;

    assert_eq!(row.output, Some(json!("stopped in time")));
}

#[tokio::test]
async fn a_blocking_handler_that_asks_stops_at_the_shutdown() {
    let db = TestDatabase::migrated();
    let (begun, mut has_begun) = unbounded_channel();
    let handler = move |_: Stubborn, ctx: Context| {
        begun.send(()).unwrap();
        while !ctx.is_cancelled() {
            std::thread::yield_now();
        }
        Ok::<_, String>("stopped in time")
    };
    let builder = Worker::builder(db.url()).handle_blocking(handler);
    let running = Running::start(builder.shutdown_grace(Duration::ZERO));
    let id = enqueue(&db, Stubborn.to_new());
    has_begun.recv().await.unwrap();

    running.stop().await;

    let row = db.job(id);
    assert_eq!(row.output, Some(json!("stopped in time")));
}

#[tokio::test]
async fn a_jobs_own_timeout_outranks_the_workers() {
    let db = TestDatabase::migrated();
    let url = db.url().to_owned();
    let handler = move |_, ctx: Context| {
        let mut conn = PgConnection::establish(&url).unwrap();
        async move {
            let seconds = diesel::dsl::sql::<diesel::sql_types::Double>(
                "SELECT extract(epoch FROM deadline_at - started_at)::float8 FROM pgqueue_jobs WHERE id = ",
            )
            .bind::<diesel::sql_types::BigInt, _>(ctx.id());
            seconds.get_result::<f64>(&mut conn)
        }
    };
    let builder = || worker(&db, handler.clone()).timeout(HOUR);

    let own = run_one(&db, builder(), job().timeout(2 * HOUR)).await;
    let workers = run_one(&db, builder(), job()).await;

    assert_eq!(own.output, Some(json!(7200.0)));
    assert_eq!(workers.output, Some(json!(3600.0)));
}
