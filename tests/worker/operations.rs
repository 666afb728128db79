//! Durable operations: done in steps by whoever finds them open, and undone from the trash.

use chrono::Utc;
use diesel_async::{AsyncConnection, AsyncPgConnection};
use pgqueue_core::admin::{self, Action, Control, Filter, Operation, Plan};
use pgqueue_core::{Error, JobState};
use pgqueue_suite::TestDatabase;

/// Inserts dead jobs, every tenth with a unique key.
fn dead_jobs(db: &TestDatabase, count: i64) {
    db.execute(&format!(
        "INSERT INTO pgqueue_jobs (queue, kind, payload, state, attempt, lost, run_at, created_at, finished_at, fencing_token, timeout, unique_key, errors, metadata, output)
         SELECT 'mail', 'send', jsonb_build_object('n', n, 'exact', 12345678901234567890.123456789012345678), 'dead', 4, 1,
             now() - interval '1 hour 1.234567 s', now() - interval '2 h', now() - n * interval '1.000001 s', 7, interval '90.5 s',
             CASE WHEN n % 10 = 0 THEN 'key:' || n END,
             jsonb_build_array(jsonb_build_object('at', now(), 'attempt', 4, 'kind', 'error', 'message', 'boom ' || n)), '{{\"tags\": [\"a\"]}}', '[1.10]'
         FROM generate_series(1, {count}) AS n"
    ));
}

async fn start(conn: &mut AsyncPgConnection, action: Action, plan: Plan) -> i64 {
    action
        .by("alice")
        .because("a test")
        .start_async(conn, plan)
        .await
        .unwrap()
}

/// Does one step, as a process would; true: there is more.
async fn step(conn: &mut AsyncPgConnection, id: i64) -> bool {
    let done =
        conn.transaction::<bool, Error, _>(async |conn| admin::advance_async(conn, id).await);
    done.await.unwrap()
}

async fn steps(conn: &mut AsyncPgConnection, id: i64) -> Operation {
    while step(conn, id).await {}
    admin::operation_async(conn, id).await.unwrap().unwrap()
}

async fn control(conn: &mut AsyncPgConnection, id: i64, control: Control) -> bool {
    let done = conn.transaction::<bool, Error, _>(async |conn| {
        admin::control_async(conn, id, control, "bob").await
    });
    done.await.unwrap()
}

/// Every column of every job, as text.
fn fingerprint(db: &TestDatabase) -> i64 {
    db.number(
        "SELECT coalesce(sum(hashtextextended(j::text, 0)), 0) % 1000000007 FROM pgqueue_jobs AS j",
    )
}

#[tokio::test]
async fn a_preview_counts_what_matches_and_changes_nothing() {
    let db = TestDatabase::migrated();
    dead_jobs(&db, 1200);
    db.execute("INSERT INTO pgqueue_jobs (queue, kind, payload, unique_key) VALUES ('mail', 'send', '{}', 'key:10')");
    let before = fingerprint(&db);

    let preview = admin::requeue(Filter::new().queue("mail"))
        .preview_async(&mut db.asynchronous().await)
        .await
        .unwrap();

    assert_eq!(
        (
            preview.jobs.at_least,
            preview.jobs.exact,
            preview.sample.len()
        ),
        (1200, true, 5)
    );
    assert_eq!(fingerprint(&db), before);
}

#[tokio::test]
async fn an_operation_goes_on_where_the_process_before_was_killed() {
    let db = TestDatabase::migrated();
    dead_jobs(&db, 1200);
    db.execute("INSERT INTO pgqueue_jobs (queue, kind, payload, unique_key) VALUES ('mail', 'send', '{}', 'key:10')");
    let mut first = db.asynchronous().await;
    let id = start(
        &mut first,
        admin::requeue(Filter::new().queue("mail")),
        Plan::default(),
    )
    .await;
    assert!(step(&mut first, id).await);
    drop(first);

    let mut second = db.asynchronous().await;
    assert_eq!(admin::due_async(&mut second).await.unwrap(), Some(id));
    let operation = steps(&mut second, id).await;

    assert_eq!(
        (operation.state.as_str(), operation.done, operation.skipped),
        ("finished", 1199, 1)
    );
    assert_eq!(operation.skipped_jobs()[0].1, "conflict");
    assert_eq!(db.count(JobState::Pending), 1200);
    assert_eq!(db.number("SELECT sum(jobs) FROM pgqueue_audit WHERE action = 'requeue' AND actor = 'alice' AND reason = 'a test'"), 1199);
    assert_eq!(admin::due_async(&mut second).await.unwrap(), None);
}

#[tokio::test]
async fn a_step_that_is_rolled_back_has_not_happened() {
    let db = TestDatabase::migrated();
    dead_jobs(&db, 700);
    let mut conn = db.asynchronous().await;
    let id = start(&mut conn, admin::purge(Filter::new()), Plan::default()).await;
    let before = fingerprint(&db);

    let rolled_back = conn.transaction::<bool, Error, _>(async |conn| {
        admin::advance_async(conn, id).await?;
        Err(diesel::result::Error::RollbackTransaction.into())
    });
    rolled_back.await.unwrap_err();

    assert_eq!(fingerprint(&db), before);
    assert_eq!(db.number("SELECT count(*) FROM pgqueue_trash"), 0);
    assert_eq!(
        steps(&mut conn, id).await.done,
        700,
        "nothing is lost or done twice"
    );
}

#[tokio::test]
async fn an_undone_purge_puts_every_column_back_as_it_was() {
    let db = TestDatabase::migrated();
    dead_jobs(&db, 1100);
    let before = fingerprint(&db);
    let mut conn = db.asynchronous().await;
    let id = start(&mut conn, admin::purge(Filter::new()), Plan::default()).await;
    let operation = steps(&mut conn, id).await;
    assert_eq!(
        (
            operation.done,
            db.number("SELECT count(*) FROM pgqueue_jobs")
        ),
        (1100, 0)
    );
    assert!(operation.can_be_undone(Utc::now()));

    assert!(control(&mut conn, id, Control::Undo).await);
    let operation = steps(&mut conn, id).await;

    assert_eq!(
        (operation.state.as_str(), operation.undone),
        ("undone", 1100)
    );
    assert_eq!(fingerprint(&db), before);
    assert_eq!(db.number("SELECT count(*) FROM pgqueue_trash"), 0);
    assert!(!control(&mut conn, id, Control::Undo).await, "only once");
}

#[tokio::test]
async fn an_undone_requeue_leaves_alone_what_was_claimed_since() {
    let db = TestDatabase::migrated();
    dead_jobs(&db, 30);
    let mut conn = db.asynchronous().await;
    let id = start(&mut conn, admin::requeue(Filter::new()), Plan::default()).await;
    steps(&mut conn, id).await;
    db.execute("UPDATE pgqueue_jobs SET state = 'completed', finished_at = now(), fencing_token = fencing_token + 1 WHERE id <= 10");

    assert!(control(&mut conn, id, Control::Undo).await);
    let operation = steps(&mut conn, id).await;

    assert_eq!(
        (
            operation.undone,
            db.count(JobState::Dead),
            db.count(JobState::Completed)
        ),
        (20, 20, 10)
    );
    let back = db.job(20);
    assert_eq!((back.attempt, back.lost, back.errors.len()), (4, 1, 1));
}

#[tokio::test]
async fn jobs_that_die_after_the_preview_are_left_alone() {
    let db = TestDatabase::migrated();
    dead_jobs(&db, 20);
    let mut conn = db.asynchronous().await;
    let action = admin::purge(Filter::new());
    let preview = action.preview_async(&mut conn).await.unwrap();
    db.execute(
        "INSERT INTO pgqueue_jobs (kind, payload, state, finished_at) SELECT 'late', '{}', 'dead', now() + interval '1 ms' FROM generate_series(1, 5)",
    );

    let id = start(&mut conn, action, Plan::of(preview)).await;
    let operation = steps(&mut conn, id).await;

    assert_eq!((operation.expected, operation.done), (20, 20));
    assert_eq!(db.count(JobState::Dead), 5);
}

#[tokio::test]
async fn a_canary_pauses_until_somebody_resumes_it_and_a_rate_bounds_each_step() {
    let db = TestDatabase::migrated();
    dead_jobs(&db, 100);
    let mut conn = db.asynchronous().await;
    let plan = Plan::default().canary(Some(10)).rate(Some(30));
    let id = start(&mut conn, admin::requeue(Filter::new()), plan).await;

    let paused = steps(&mut conn, id).await;
    assert_eq!((paused.state.as_str(), paused.done), ("paused", 10));
    assert_eq!(admin::due_async(&mut conn).await.unwrap(), None);

    assert!(control(&mut conn, id, Control::Resume).await);
    assert!(step(&mut conn, id).await);
    assert!(
        !step(&mut conn, id).await,
        "the next step is not due within the same second"
    );
    let running = admin::operation_async(&mut conn, id)
        .await
        .unwrap()
        .unwrap();
    assert_eq!((running.state.as_str(), running.done), ("running", 40));

    assert!(control(&mut conn, id, Control::Cancel).await);
    assert!(!control(&mut conn, id, Control::Resume).await);
    assert_eq!(
        db.number("SELECT count(*) FROM pgqueue_audit WHERE actor = 'bob'"),
        2
    );
}

#[tokio::test]
async fn a_cause_is_purged_and_no_other() {
    let db = TestDatabase::migrated();
    dead_jobs(&db, 40);
    db.execute("UPDATE pgqueue_jobs SET state = 'pending', finished_at = NULL WHERE id > 30");
    db.execute("UPDATE pgqueue_jobs SET state = 'dead', finished_at = now(), errors = '[{\"kind\": \"error\", \"message\": \"other\"}]' WHERE id > 30");
    let mut conn = db.asynchronous().await;
    let cause = db.job(1).cause.unwrap();

    let id = start(
        &mut conn,
        admin::purge(Filter::new().cause(cause)),
        Plan::default(),
    )
    .await;
    let operation = steps(&mut conn, id).await;

    assert_eq!((operation.done, db.count(JobState::Dead)), (30, 10));
}
