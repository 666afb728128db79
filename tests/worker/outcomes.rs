//! What a handler returns, and what becomes of its job.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use chrono::{DateTime, TimeDelta, Utc};
use pgqueue_core::{Context, Job, JobRow, JobState, NewJob, Outcome, RawJob, Worker, admin};
use pgqueue_suite::TestDatabase;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{HOUR, Running, enqueue, errors, job, last_error, run_one, wait_for_failures, worker};

/// When the newest failure was stored, by the database's clock.
fn failed_at(row: &JobRow) -> DateTime<Utc> {
    errors(row).last().unwrap().at.unwrap()
}

/// The wait from the newest failure to the next run.
fn wait_of(row: &JobRow) -> TimeDelta {
    row.run_at - failed_at(row)
}

#[derive(Serialize, Deserialize)]
struct Receipt {
    order_id: i64,
}

impl Job for Receipt {
    const KIND: &'static str = "receipt";
}

#[tokio::test]
async fn ok_completes_the_job() {
    let db = TestDatabase::migrated();

    let row = run_one(&db, worker(&db, async |_, _| Ok::<_, String>(())), job()).await;

    assert_eq!(row.state, JobState::Completed);
    assert_eq!((row.attempt, row.output.as_ref()), (1, None));
    assert_eq!((errors(&row).len(), row.claimed_by), (0, None));
    assert!(row.finished_at >= row.started_at);
}

#[tokio::test]
async fn an_output_is_stored_with_the_job() {
    let db = TestDatabase::migrated();
    let handler = async |job: RawJob, _| match job.payload["as"].as_str() {
        Some("outcome") => Ok(Outcome::output(json!({"pages": 3}))),
        _ => Err("never"),
    };
    let typed = async |_: Receipt, _| Ok::<_, String>(vec![1, 2, 3]);
    let by_outcome = enqueue(&db, NewJob::new("job", json!({"as": "outcome"})));
    let by_value = enqueue(&db, Receipt { order_id: 1 }.to_new());

    let builder = worker(&db, handler).handle(typed);
    builder.build().unwrap().run_until_empty().await.unwrap();

    assert_eq!(db.job(by_outcome).output, Some(json!({"pages": 3})));
    assert_eq!(db.job(by_value).output, Some(json!([1, 2, 3])));
}

#[tokio::test]
async fn a_snooze_costs_no_attempt_and_leaves_no_error() {
    let db = TestDatabase::migrated();
    let snooze = async |_, _| Ok::<_, String>(Outcome::snooze(HOUR));

    let row = run_one(&db, worker(&db, snooze), job()).await;

    assert_eq!(
        (row.state, row.attempt, errors(&row).len()),
        (JobState::Pending, 0, 0)
    );
    let hour = TimeDelta::hours(1);
    assert!(row.run_at - row.started_at.unwrap() >= hour);
    assert!(row.run_at - hour <= Utc::now());
    assert_eq!(row.fencing_token, 1, "the run had a token all the same");
}

#[tokio::test]
async fn a_snooze_for_ever_is_stored_and_holds_nothing_up() {
    let db = TestDatabase::migrated();
    let handler = async |job: RawJob, _| match job.payload["do"].as_str() {
        Some("snooze") => Ok::<_, String>(Outcome::snooze(Duration::MAX)),
        Some("retry") => Ok(Outcome::retry_after(Duration::MAX, "later")),
        _ => Ok(Outcome::done()),
    };
    let snoozed = enqueue(&db, NewJob::new("job", json!({"do": "snooze"})));
    let retried = enqueue(&db, NewJob::new("job", json!({"do": "retry"})));

    let row = run_one(&db, worker(&db, handler), job()).await;

    assert_eq!(row.state, JobState::Completed);
    for id in [snoozed, retried] {
        let row = db.job(id);
        assert_eq!(row.state, JobState::Pending);
        assert!(row.run_at > Utc::now() + TimeDelta::days(3650));
    }
}

#[tokio::test]
async fn retry_after_waits_exactly_that() {
    let db = TestDatabase::migrated();
    let wait = Duration::from_millis(90_500);
    let handler =
        move |_, _| async move { Ok::<_, String>(Outcome::retry_after(wait, "rate limited")) };

    let row = run_one(&db, worker(&db, handler), job()).await;

    assert_eq!((row.state, row.attempt), (JobState::Pending, 1));
    assert_eq!(wait_of(&row), TimeDelta::milliseconds(90_500));
    assert_eq!(last_error(&row), "rate limited");
}

#[tokio::test]
async fn retry_after_the_last_attempt_is_dead() {
    let db = TestDatabase::migrated();
    let handler = async |_, _| Ok::<_, String>(Outcome::retry_after(HOUR, "rate limited"));

    let row = run_one(&db, worker(&db, handler), job().max_retries(0)).await;

    assert_eq!(
        (row.state, last_error(&row)),
        (JobState::Dead, "rate limited")
    );
}

#[tokio::test]
async fn a_handler_cancels_its_job_and_says_why() {
    let db = TestDatabase::migrated();
    let handler = async |_, _| Ok::<_, String>(Outcome::cancel("the account is closed"));

    let row = run_one(&db, worker(&db, handler), job()).await;

    assert_eq!((row.state, row.attempt), (JobState::Cancelled, 1));
    let error = &errors(&row)[0];
    assert_eq!(
        (error.kind.as_str(), error.message.as_str(), error.attempt),
        ("cancelled", "the account is closed", 1)
    );
}

#[tokio::test]
async fn a_handler_gives_its_job_up_and_says_why() {
    let db = TestDatabase::migrated();
    let handler = async |_, _| Ok::<_, String>(Outcome::dead("no such order"));

    let row = run_one(&db, worker(&db, handler), job()).await;

    assert_eq!((row.state, row.attempt), (JobState::Dead, 1));
    assert_eq!(
        (errors(&row)[0].kind.as_str(), last_error(&row)),
        ("handler", "no such order")
    );
}

#[tokio::test]
async fn an_error_keeps_its_chain_of_causes() {
    let db = TestDatabase::migrated();
    fn refused() -> std::io::Error {
        std::io::Error::other("connection refused")
    }
    let anyhow = |_, _| async {
        Err::<(), _>(refused())
            .context("the warehouse does not answer")
            .context("cannot reserve")
    };
    let text = async |_: Receipt, _| Err::<(), _>("plain text".to_owned());
    let io = |_, _| async { Err::<(), _>(refused()) };
    let receipt = enqueue(&db, Receipt { order_id: 1 }.to_new());
    let std = enqueue(&db, NewJob::new("std", json!({})));

    let builder = worker(&db, anyhow).handle(text).handle_kind("std", io);
    let row = run_one(&db, builder, job()).await;

    assert_eq!(
        last_error(&row),
        "cannot reserve: the warehouse does not answer: connection refused"
    );
    assert_eq!(last_error(&db.job(receipt)), "plain text");
    assert_eq!(last_error(&db.job(std)), "connection refused");
}

#[tokio::test]
async fn retries_wait_one_two_and_four_seconds_by_the_databases_clock_and_then_the_job_is_dead() {
    let db = TestDatabase::migrated();
    let running = Running::start(worker(&db, async |_, _| Err::<(), _>("no")));

    let id = enqueue(&db, job());

    for (attempt, seconds) in [(1, 1), (2, 2), (3, 4)] {
        let row = wait_for_failures(&db, id, attempt).await;
        let least = TimeDelta::seconds(seconds);
        assert_eq!(row.state, JobState::Pending);
        assert!(
            (least..=least * 11 / 10).contains(&wait_of(&row)),
            "attempt {attempt} waits {}",
            wait_of(&row)
        );
        let hurried = admin::run_now(id).run(&mut db.sync()).unwrap();
        assert!(hurried.changed <= 1, "0: its wait was over by itself");
    }
    let row = wait_for_failures(&db, id, 4).await;
    assert_eq!((row.state, row.attempt), (JobState::Dead, 4));
    running.stop().await;
}

#[tokio::test]
async fn without_retries_the_first_failure_is_death() {
    let db = TestDatabase::migrated();
    let handler = async |_, _| Err::<(), _>("no");

    let row = run_one(&db, worker(&db, handler), job().max_retries(0)).await;

    assert_eq!((row.state, row.attempt), (JobState::Dead, 1));
}

#[tokio::test]
async fn the_base_wait_of_the_worker_scales_the_retries() {
    let db = TestDatabase::migrated();
    let builder = worker(&db, async |_, _| Err::<(), _>("no"));

    let row = run_one(&db, builder.retry_base_wait(HOUR), job()).await;

    assert!((TimeDelta::minutes(60)..=TimeDelta::minutes(66)).contains(&wait_of(&row)));
}

#[derive(Serialize, Deserialize)]
struct Patient;

impl Job for Patient {
    const KIND: &'static str = "patient";
    const MAX_RETRIES: i32 = 7;

    fn backoff(attempt: i32) -> Option<Duration> {
        Some(Duration::from_secs(600) * u32::try_from(attempt).unwrap())
    }
}

#[tokio::test]
async fn a_types_own_backoff_outranks_the_workers() {
    let db = TestDatabase::migrated();
    let running = Running::start(
        Worker::builder(db.url())
            .handle(async |_: Patient, _| Err::<(), _>("no"))
            .poll_interval(HOUR),
    );

    let id = enqueue(&db, Patient.to_new());

    for attempt in [1, 2] {
        let row = wait_for_failures(&db, id, attempt).await;
        let least = TimeDelta::minutes(10) * i32::try_from(attempt).unwrap();
        assert!((least..=least * 11 / 10).contains(&wait_of(&row)));
        admin::run_now(id).run(&mut db.sync()).unwrap();
    }
    assert_eq!(db.job(id).max_retries, 7);
    running.stop().await;
}

#[derive(Serialize, Deserialize)]
struct Overflowing;

impl Job for Overflowing {
    const KIND: &'static str = "overflowing";

    fn backoff(attempt: i32) -> Option<Duration> {
        panic!("2 to the power of {attempt} overflows");
    }
}

#[tokio::test]
async fn a_backoff_that_panics_falls_back_to_the_workers() {
    let db = TestDatabase::migrated();
    let overflowing = enqueue(&db, Overflowing.to_new());
    let builder = worker(&db, async |_, _| Ok::<_, String>(()))
        .handle(async |_: Overflowing, _| Err::<(), _>("no"));

    let neighbour = run_one(&db, builder, job()).await;

    assert_eq!(neighbour.state, JobState::Completed);
    let row = db.job(overflowing);
    assert_eq!(row.state, JobState::Pending);
    assert!((TimeDelta::seconds(1)..=TimeDelta::milliseconds(1100)).contains(&wait_of(&row)));
}

#[tokio::test]
async fn the_newest_ten_failures_are_kept() {
    let db = TestDatabase::migrated();
    let handler = async |_, ctx: Context| Err::<(), _>(format!("failure {}", ctx.attempt()));
    let builder = worker(&db, handler).retry_base_wait(Duration::ZERO);
    let running = Running::start(builder);

    let id = enqueue(&db, job().max_retries(12));

    let row = db.wait_for_state(id, JobState::Dead).await;
    let attempts: Vec<i32> = errors(&row).iter().map(|error| error.attempt).collect();
    assert_eq!(attempts, (4..=13).collect::<Vec<i32>>());
    assert_eq!(errors(&row)[0].message, "failure 4");
    running.stop().await;
}

#[tokio::test]
async fn an_error_text_is_cut_at_eight_kibibytes() {
    let db = TestDatabase::migrated();
    let handler = async |_, _| Err::<(), _>("é".repeat(10 << 20));

    let row = run_one(&db, worker(&db, handler), job()).await;

    let kept = last_error(&row);
    assert!((8000..=8192).contains(&kept.len()));
    assert!(kept.starts_with("éé") && kept.ends_with('…'));
}

#[tokio::test]
async fn nul_in_an_error_a_panic_a_reason_or_an_output_is_stored_without_it() {
    let db = TestDatabase::migrated();
    let handler = async |job: RawJob, _| match job.payload.as_str() {
        Some("error") => Err("bro\0ken".to_owned()),
        Some("panic") => panic!("bro\0ken"),
        Some("cancel") => Ok(Outcome::cancel("bro\0ken")),
        Some("dead") => Ok(Outcome::dead("bro\0ken")),
        Some("retry") => Ok(Outcome::retry_after(HOUR, "bro\0ken")),
        _ => Ok(Outcome::output(json!({"bro\0ken": ["\0"]}))),
    };
    let ways = ["error", "panic", "cancel", "dead", "retry"];
    let ids = ways.map(|way| enqueue(&db, NewJob::new("job", json!(way))));

    let completed = run_one(&db, worker(&db, handler), job()).await;

    for (id, way) in ids.into_iter().zip(ways) {
        let row = db.job(id);
        assert!(last_error(&row).ends_with("bro\u{fffd}ken"), "{way}");
    }
    assert_eq!(
        completed.output,
        Some(json!({"bro\u{fffd}ken": ["\u{fffd}"]}))
    );
}

#[tokio::test]
async fn large_outputs_that_end_together_are_all_stored_in_statements_of_a_bounded_size() {
    let db = TestDatabase::migrated();
    db.execute(
        "CREATE TABLE statements (bytes bigint);
         CREATE FUNCTION weigh() RETURNS trigger LANGUAGE plpgsql AS
             $$ BEGIN INSERT INTO statements SELECT sum(octet_length(output::text)) FROM ended; RETURN NULL; END $$;
         CREATE TRIGGER weigh AFTER UPDATE ON pgqueue_jobs REFERENCING NEW TABLE AS ended
             FOR EACH STATEMENT EXECUTE FUNCTION weigh()",
    );
    let together = Arc::new(tokio::sync::Barrier::new(40));
    let handler = move |_, _| {
        let together = Arc::clone(&together);
        async move {
            together.wait().await;
            Ok::<_, String>("x".repeat((1 << 20) - 2))
        }
    };
    for _ in 0..40 {
        enqueue(&db, job());
    }

    let worker = worker(&db, handler).concurrency(40).build().unwrap();
    worker.run_until_empty().await.unwrap();

    let stored = "SELECT count(*) FROM pgqueue_jobs WHERE octet_length(output::text) = 1 << 20";
    assert_eq!(db.number(stored), 40);
    let largest = db.number("SELECT max(bytes) FROM statements");
    assert!(largest <= 16 << 20, "{largest} bytes in one statement");
}

#[tokio::test]
async fn an_output_that_is_no_json_fails_the_run() {
    let db = TestDatabase::migrated();
    let handler =
        async |_, _| Ok::<_, String>(std::collections::BTreeMap::from([(vec![1_u8], "one")]));

    let row = run_one(&db, worker(&db, handler), job()).await;

    assert_eq!(row.state, JobState::Pending);
    assert!(last_error(&row).contains("cannot be written as JSON"));
}

#[tokio::test]
async fn an_output_that_postgresql_refuses_is_dropped_and_the_job_completes() {
    let db = TestDatabase::migrated();
    // Deeper than PostgreSQL's parser goes at `max_stack_depth`.
    let handler = async |_, _| {
        let mut deep = json!(1);
        for _ in 0..40_000 {
            deep = Value::Array(vec![deep]);
        }
        Ok::<_, String>(Outcome::output(deep))
    };

    let row = in_big_stack(async move || run_one(&db, worker(&db, handler), job()).await);

    assert_eq!((row.state, row.output), (JobState::Completed, None));
}

/// Runs on threads with stacks that hold deep values in a debug build.
fn in_big_stack<T: Send + 'static, F: Future<Output = T>>(
    work: impl FnOnce() -> F + Send + 'static,
) -> T {
    let run = || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        runtime.unwrap().block_on(work())
    };
    let thread = std::thread::Builder::new().stack_size(256 << 20).spawn(run);
    thread.unwrap().join().unwrap()
}

struct PanicsInDrop;

impl Drop for PanicsInDrop {
    fn drop(&mut self) {
        panic!("in drop");
    }
}

#[tokio::test]
async fn a_panic_anywhere_in_a_handler_fails_its_run_and_nothing_else() {
    let db = TestDatabase::migrated();
    let before_the_future = |_: Receipt, _: Context| {
        if Utc::now().timestamp() > 0 {
            panic!("before the future");
        }
        async { Ok::<_, String>(()) }
    };
    let handler = async |job: RawJob, _: Context| {
        match job.payload.as_str() {
            Some("before an await") => panic!("before an await"),
            Some("after an await") => {
                tokio::task::yield_now().await;
                panic!("after an await")
            }
            Some("in drop") => drop(PanicsInDrop),
            Some("no text") => std::panic::panic_any(7),
            Some("panic with a value that panics in drop") => std::panic::panic_any(PanicsInDrop),
            _ => {}
        }
        Ok::<_, String>(())
    };
    let ways = [
        "before an await",
        "after an await",
        "in drop",
        "no text",
        "panic with a value that panics in drop",
    ];
    let ids = ways.map(|way| enqueue(&db, NewJob::new("job", json!(way))));
    let receipt = enqueue(&db, Receipt { order_id: 1 }.to_new());
    let builder = worker(&db, handler).handle(before_the_future);

    let neighbour = run_one(&db, builder, job()).await;

    assert_eq!(neighbour.state, JobState::Completed);
    let texts = ids.map(|id| {
        let row = db.job(id);
        assert_eq!(
            (row.state, errors(&row)[0].kind.as_str()),
            (JobState::Pending, "panic")
        );
        last_error(&row).to_owned()
    });
    assert_eq!(
        texts.each_ref().map(String::as_str),
        [
            "panicked: before an await",
            "panicked: after an await",
            "panicked: in drop",
            "panicked: with a value that is no text",
            "panicked: with a value that is no text",
        ]
    );
    assert_eq!(last_error(&db.job(receipt)), "panicked: before the future");
}

#[tokio::test]
async fn a_panic_in_a_blocking_handler_fails_its_run_and_nothing_else() {
    let db = TestDatabase::migrated();
    let handler = |job: Receipt, _: Context| {
        if job.order_id == 1 {
            panic!("order {}", job.order_id);
        }
        Ok::<_, String>(())
    };
    let builder = Worker::builder(db.url()).handle_blocking(handler);
    let panicking = enqueue(&db, Receipt { order_id: 1 }.to_new());

    let neighbour = run_one(&db, builder, Receipt { order_id: 2 }.to_new()).await;

    assert_eq!(neighbour.state, JobState::Completed);
    assert_eq!(last_error(&db.job(panicking)), "panicked: order 1");
}

#[tokio::test]
async fn a_payload_that_is_not_of_the_type_is_dead_at_once_with_the_reason() {
    let db = TestDatabase::migrated();
    let runs = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&runs);
    let handler = move |_: Receipt, _| {
        counted.fetch_add(1, Ordering::SeqCst);
        async { Ok::<_, String>(()) }
    };
    let builder = Worker::builder(db.url()).handle(handler);

    let row = run_one(
        &db,
        builder,
        NewJob::new("receipt", json!({"order_id": "seven"})),
    )
    .await;

    assert_eq!((row.state, row.attempt), (JobState::Dead, 1));
    assert_eq!(errors(&row)[0].kind, "payload");
    let reason = last_error(&row);
    for part in ["Receipt", "\"receipt\"", "expected i64"] {
        assert!(reason.contains(part), "{reason}");
    }
    assert_eq!(runs.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn json_too_deep_to_read_is_dead_at_once_and_its_neighbours_run() {
    let db = TestDatabase::migrated();
    let nested = |depth| format!("(repeat('[', {depth}) || repeat(']', {depth}))::jsonb");
    for (kind, depth) in [("job", 129), ("receipt", 129), ("job", 5000)] {
        db.execute(&format!(
            "INSERT INTO pgqueue_jobs (kind, payload) VALUES ('{kind}', {})",
            nested(depth)
        ));
    }
    db.execute(&format!(
        "INSERT INTO pgqueue_jobs (kind, payload, metadata) VALUES ('job', '{{}}', jsonb_build_object('deep', {}))",
        nested(300)
    ));
    let builder = worker(&db, async |_, _| Ok::<_, String>(()))
        .handle(async |_: Receipt, _| Ok::<_, String>(()));

    let neighbour = run_one(&db, builder, job()).await;

    assert_eq!(neighbour.state, JobState::Completed);
    let dead = "SELECT count(*) FROM pgqueue_jobs WHERE state = 'dead' AND attempt = 1 \
        AND errors #>> '{0,kind}' = 'payload' AND errors #>> '{0,message}' LIKE '%recursion limit exceeded%'";
    assert_eq!(db.number(dead), 4);
    assert_eq!(db.jobs().len(), 5, "and their rows can be read");
}

#[tokio::test]
async fn kinds_that_no_handler_knows_are_left_to_others() {
    let db = TestDatabase::migrated();
    let stranger = enqueue(&db, NewJob::new("stranger", json!({})));

    let known = run_one(&db, worker(&db, async |_, _| Ok::<_, String>(())), job()).await;

    assert_eq!(known.state, JobState::Completed);
    let row = db.job(stranger);
    assert_eq!(
        (row.state, row.attempt, row.fencing_token),
        (JobState::Pending, 0, 0)
    );
}
