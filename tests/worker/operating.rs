//! What operators do: requeue, cancel, purge, run now, pause and resume, each counted, explained and audited.

use chrono::{TimeDelta, Utc};
use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use pgqueue_core::admin::{self, Action, Done, Filter, SkipReason};
use pgqueue_core::{ErrorKind, JobState};
use pgqueue_suite::{TestDatabase, wait_until};

use crate::{HOUR, enqueue, job};

/// Every action does the same on a sync and on an async connection.
#[derive(Clone, Copy, Debug)]
enum On {
    Sync,
    Async,
}

const BOTH: [On; 2] = [On::Sync, On::Async];

async fn act(on: On, db: &TestDatabase, action: Action) -> Done {
    match on {
        On::Sync => action.run(&mut db.sync()).unwrap(),
        On::Async => {
            let mut conn = db.asynchronous().await;
            action.run_async(&mut conn).await.unwrap()
        }
    }
}

/// Inserts `count` jobs that ended, a second apart, and gives their ids.
fn ended(db: &TestDatabase, state: JobState, count: i64) -> Vec<i64> {
    let insert = format!(
        "INSERT INTO pgqueue_jobs (kind, payload, state, attempt, lost, created_at, finished_at, errors) \
         SELECT 'job', '{{}}', '{state}', 4, 1, now() - interval '1 day', now() - n * interval '1 second', \
         '[{{\"kind\": \"error\", \"message\": \"HTTP 503\"}}]' \
         FROM generate_series(1, {count}) AS n RETURNING id"
    );
    diesel::dsl::sql::<diesel::sql_types::BigInt>(&insert)
        .load(&mut db.sync())
        .unwrap()
}

fn reasons(done: &Done) -> Vec<(i64, SkipReason)> {
    let reasons = done
        .skipped
        .iter()
        .map(|skipped| (skipped.id, skipped.reason));
    reasons.collect()
}

fn audited(db: &TestDatabase, condition: &str) -> i64 {
    db.number(&format!(
        "SELECT count(*) FROM pgqueue_audit WHERE {condition}"
    ))
}

#[tokio::test]
async fn a_requeued_job_starts_afresh_and_keeps_its_history() {
    for on in BOTH {
        let db = TestDatabase::migrated();
        let id = ended(&db, JobState::Dead, 1)[0];
        db.execute("UPDATE pgqueue_jobs SET fencing_token = 4, run_at = now() - interval '1 day', output = '1', progress = '1'");

        let done = act(on, &db, admin::requeue(id)).await;

        assert_eq!(
            (done.changed, done.requested, done.skipped.len()),
            (1, 0, 0)
        );
        let row = db.job(id);
        assert_eq!(
            (row.state, row.attempt, row.lost),
            (JobState::Pending, 0, 0)
        );
        assert_eq!((row.fencing_token, row.finished_at), (4, None));
        assert_eq!((&row.output, &row.progress), (&None, &None));
        assert!(row.run_at > Utc::now() - TimeDelta::hours(1), "due now");
        assert_eq!(row.errors.len(), 1);
    }
}

#[tokio::test]
async fn a_requeue_tells_why_it_skipped_each_job() {
    for on in BOTH {
        let db = TestDatabase::migrated();
        let dead = ended(&db, JobState::Dead, 3);
        let (locked, taken, free) = (dead[0], dead[1], dead[2]);
        db.execute(&format!(
            "UPDATE pgqueue_jobs SET unique_key = 'order:1' WHERE id = {taken}"
        ));
        let pending = enqueue(&db, job().unique_key("order:1"));
        let mut holder = db.sync();
        let lock = format!("BEGIN; SELECT FROM pgqueue_jobs WHERE id = {locked} FOR UPDATE");
        holder.batch_execute(&lock).unwrap();

        let ids = vec![locked, taken, free, pending, 999_999];
        let done = act(on, &db, admin::requeue(ids)).await;

        assert_eq!(done.changed, 1);
        let mut skipped = reasons(&done);
        skipped.sort_by_key(|(id, _)| *id);
        assert_eq!(
            skipped,
            [
                (locked, SkipReason::Busy),
                (taken, SkipReason::Conflict),
                (pending, SkipReason::State),
                (999_999, SkipReason::Missing),
            ]
        );
        assert_eq!(db.job(free).state, JobState::Pending);
        assert_eq!(audited(&db, "jobs = 1 AND action = 'requeue'"), 1);
    }
}

#[tokio::test]
async fn a_requeue_that_races_an_insert_of_the_same_key_skips_and_does_not_fail() {
    let db = TestDatabase::migrated();
    let dead = ended(&db, JobState::Dead, 3);
    db.execute(&format!(
        "UPDATE pgqueue_jobs SET unique_key = 'order:1' WHERE id = {}",
        dead[1]
    ));
    let mut inserting = db.sync();
    inserting.batch_execute("BEGIN").unwrap();
    job().unique_key("order:1").enqueue(&mut inserting).unwrap();

    let mut conn = db.sync();
    let requeue = tokio::task::spawn_blocking(move || admin::requeue(Filter::new()).run(&mut conn));
    let blocked = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
    wait_until("the requeue waits for the insert", async || {
        db.number(blocked) == 1
    })
    .await;
    inserting.batch_execute("COMMIT").unwrap();
    let done = requeue.await.unwrap().unwrap();

    assert_eq!(done.changed, 2);
    assert_eq!(reasons(&done), [(dead[1], SkipReason::Conflict)]);
    assert_eq!(db.job(dead[1]).state, JobState::Dead);
}

#[tokio::test]
async fn two_dead_jobs_of_one_key_are_not_both_requeued() {
    let db = TestDatabase::migrated();
    ended(&db, JobState::Dead, 2);
    db.execute("UPDATE pgqueue_jobs SET unique_key = 'order:1'");

    let done = admin::requeue(Filter::new()).run(&mut db.sync()).unwrap();

    assert_eq!((done.changed, done.skipped.len()), (1, 1));
    assert_eq!(done.skipped[0].reason, SkipReason::Conflict);
}

#[tokio::test]
async fn an_action_walks_over_thousands_of_jobs_in_statements_of_500() {
    for on in BOTH {
        let db = TestDatabase::migrated();
        ended(&db, JobState::Dead, 1234);
        db.execute("UPDATE pgqueue_jobs SET finished_at = now() WHERE id % 3 = 0");

        let done = act(on, &db, admin::requeue(Filter::new()).by("alice")).await;

        assert_eq!((done.changed, done.skipped.len()), (1234, 0));
        assert_eq!(db.count(JobState::Pending), 1234);
        let audited = "SELECT sum(jobs) FROM pgqueue_audit WHERE actor = 'alice'";
        assert_eq!(db.number(audited), 1234);
        assert_eq!(db.number("SELECT count(*) FROM pgqueue_audit"), 3);
    }
}

#[tokio::test]
async fn a_cancel_meets_every_job_of_every_queue_once() {
    for on in BOTH {
        let db = TestDatabase::migrated();
        db.execute(
            "INSERT INTO pgqueue_jobs (kind, payload, queue, priority, run_at, state, claimed_by)
             SELECT CASE WHEN n % 4 = 0 THEN 'job' ELSE 'other' END, '{}', 'queue ' || n % 3, n % 10, now() - (n % 7) * interval '1 s', s.state, s.owner
             FROM generate_series(1, 6000) AS n, (VALUES ('pending', NULL), ('running', 1)) AS s(state, owner)",
        );

        let done = act(on, &db, admin::cancel(Filter::new().kind("job"))).await;

        assert_eq!((done.changed, done.requested), (1500, 1500));
        assert_eq!(db.count(JobState::Cancelled), 1500);
        assert_eq!(db.count(JobState::Pending), 4500);
        let largest = "SELECT max(jobs) FROM pgqueue_audit";
        assert_eq!(db.number(largest), 500);
    }
}

#[tokio::test]
async fn run_now_hurries_thousands_and_a_filter_of_one_queue_or_state_leaves_the_others() {
    let db = TestDatabase::migrated();
    db.execute(
        "INSERT INTO pgqueue_jobs (kind, payload, queue, priority, run_at)
         SELECT 'job', '{}', 'queue ' || n % 3, n % 10, now() + n * interval '1 s' FROM generate_series(1, 6000) AS n",
    );

    let one = admin::run_now(Filter::new().queue("queue 1"))
        .run(&mut db.sync())
        .unwrap();
    let running = Filter::new().state(JobState::Running);
    let none = admin::cancel(running).run(&mut db.sync()).unwrap();
    let rest = admin::run_now(Filter::new()).run(&mut db.sync()).unwrap();

    assert_eq!((one.changed, none.changed, rest.changed), (2000, 0, 4000));
    let waiting = "SELECT count(*) FROM pgqueue_jobs WHERE run_at > now()";
    assert_eq!(db.number(waiting), 0);
}

#[tokio::test]
async fn jobs_that_are_enqueued_after_a_cancel_began_are_not_swept_in() {
    let db = TestDatabase::migrated();
    let old = enqueue(&db, job());
    let mut conn = db.sync();

    let (young, done) = conn
        .transaction(|conn| {
            diesel::sql_query("SELECT 1").execute(conn)?; // its time is that of the transaction
            let young = enqueue(&db, job());
            QueryResult::Ok((young, admin::cancel(Filter::new()).run(conn).unwrap()))
        })
        .unwrap();

    assert_eq!(done.changed, 1);
    assert_eq!(db.job(old).state, JobState::Cancelled);
    assert_eq!(db.job(young).state, JobState::Pending);
}

#[tokio::test]
async fn a_job_that_another_transaction_holds_does_not_stop_the_walk() {
    let db = TestDatabase::migrated();
    db.execute(
        "INSERT INTO pgqueue_jobs (kind, payload) SELECT 'job', '{}' FROM generate_series(1, 1500)",
    );
    let mut holder = db.sync();
    let lock = "BEGIN; SELECT FROM pgqueue_jobs WHERE id BETWEEN 1 AND 600 FOR UPDATE";
    holder.batch_execute(lock).unwrap();

    let done = admin::cancel(Filter::new()).run(&mut db.sync()).unwrap();

    assert_eq!((done.changed, db.count(JobState::Pending)), (900, 600));
}

#[tokio::test]
async fn jobs_that_die_after_an_action_began_are_not_swept_in() {
    let db = TestDatabase::migrated();
    let old = ended(&db, JobState::Dead, 1)[0];
    let mut conn = db.sync();

    let (young, done) = conn
        .transaction(|conn| {
            diesel::sql_query("SELECT 1").execute(conn)?; // its time is that of the transaction
            let young = enqueue(&db, job());
            db.execute(&format!(
                "UPDATE pgqueue_jobs SET state = 'dead', finished_at = now() WHERE id = {young}"
            ));
            let done = admin::requeue(Filter::new()).run(conn).unwrap();
            QueryResult::Ok((young, done))
        })
        .unwrap();

    assert_eq!(done.changed, 1);
    assert_eq!(db.job(old).state, JobState::Pending);
    assert_eq!(db.job(young).state, JobState::Dead);
}

#[tokio::test]
async fn an_action_in_a_transaction_that_rolls_back_did_nothing() {
    let db = TestDatabase::migrated();
    let id = ended(&db, JobState::Dead, 1)[0];
    let mut conn = db.sync();

    conn.begin_test_transaction().unwrap();
    let done = admin::requeue(id).run(&mut conn).unwrap();
    drop(conn);

    assert_eq!(done.changed, 1);
    assert_eq!(db.job(id).state, JobState::Dead);
    assert_eq!(audited(&db, "true"), 0);
}

#[tokio::test]
async fn a_filter_keeps_what_any_of_its_conditions_excludes() {
    let cases: [(&str, Filter); 7] = [
        ("kind = 'other'", Filter::new().kind("job")),
        ("queue = 'other'", Filter::new().queue("default")),
        (
            "errors = '[{\"message\": \"HTTP 404\"}]'",
            Filter::new().error_contains("http 503"),
        ),
        (
            "created_at = now()",
            Filter::new().created_before(Utc::now() - TimeDelta::hours(1)),
        ),
        (
            "finished_at = now()",
            Filter::new().finished_before(Utc::now() - TimeDelta::minutes(1)),
        ),
        ("state = 'cancelled'", Filter::new().state(JobState::Dead)),
        ("state = 'cancelled'", Filter::new()),
    ];
    for (differs, filter) in cases {
        let db = TestDatabase::migrated();
        ended(&db, JobState::Dead, 3);
        db.execute("UPDATE pgqueue_jobs SET finished_at = now() - interval '1 hour'");
        db.execute(&format!(
            "UPDATE pgqueue_jobs SET {differs} WHERE id % 3 = 0"
        ));

        let done = admin::purge(filter).run(&mut db.sync()).unwrap();

        assert_eq!((done.changed, db.jobs().len()), (2, 1), "{differs}");
    }
}

#[tokio::test]
async fn a_text_with_wildcards_and_quotes_is_found_as_it_stands() {
    let db = TestDatabase::migrated();
    ended(&db, JobState::Dead, 2);
    db.execute(
        "UPDATE pgqueue_jobs SET errors = '[{\"message\": \"100% of _ it''s\"}]' WHERE id % 2 = 0",
    );

    let all = admin::purge(Filter::new().error_contains("1%3")).run(&mut db.sync());
    let one = admin::purge(Filter::new().error_contains("100% OF _ it's")).run(&mut db.sync());

    assert_eq!((all.unwrap().changed, one.unwrap().changed), (0, 1));
}

#[tokio::test]
async fn purge_deletes_what_is_dead_and_says_what_it_skipped() {
    for on in BOTH {
        let db = TestDatabase::migrated();
        let dead = ended(&db, JobState::Dead, 1)[0];
        let completed = ended(&db, JobState::Completed, 1)[0];
        let pending = enqueue(&db, job());

        let all = act(on, &db, admin::purge(Filter::new())).await;
        let ids = act(on, &db, admin::purge(vec![dead, completed, pending])).await;

        assert_eq!(
            (all.changed, ids.changed),
            (1, 1),
            "by id a completed one, too"
        );
        assert_eq!(
            reasons(&ids),
            [(dead, SkipReason::Missing), (pending, SkipReason::State)]
        );
        assert_eq!(db.jobs().len(), 1);
    }
}

#[tokio::test]
async fn cancel_counts_what_it_cancelled_and_what_it_asked() {
    for on in BOTH {
        let db = TestDatabase::migrated();
        for _ in 0..3 {
            enqueue(&db, job());
        }
        db.execute("UPDATE pgqueue_jobs SET state = 'running', claimed_by = 7 WHERE id % 3 = 0");
        ended(&db, JobState::Dead, 2);

        let done = act(on, &db, admin::cancel(Filter::new())).await;

        assert_eq!(
            (done.changed, done.requested, done.skipped.len()),
            (2, 1, 0)
        );
        assert_eq!(db.count(JobState::Cancelled), 2);
        assert_eq!(
            db.number("SELECT count(*) FROM pgqueue_jobs WHERE cancel_requested_at IS NOT NULL"),
            1
        );
        let audited = "SELECT sum(jobs) FROM pgqueue_audit WHERE action = 'cancel'";
        assert_eq!(db.number(audited), 3);
    }
}

#[tokio::test]
async fn run_now_hurries_what_waits_and_leaves_what_is_due_in_its_place() {
    for on in BOTH {
        let db = TestDatabase::migrated();
        let due = enqueue(&db, job());
        let scheduled = enqueue(&db, job().delay(HOUR));
        let before = db.job(due).run_at;

        let all = act(on, &db, admin::run_now(Filter::new())).await;
        let again = act(on, &db, admin::run_now(vec![due, scheduled])).await;

        assert_eq!((all.changed, all.skipped.len()), (1, 0));
        assert_eq!(db.job(due).run_at, before);
        assert!(db.job(scheduled).run_at <= Utc::now());
        assert_eq!(
            reasons(&again),
            [(due, SkipReason::State), (scheduled, SkipReason::State)]
        );
    }
}

#[tokio::test]
async fn an_action_for_a_state_it_is_not_for_is_refused_by_name() {
    let db = TestDatabase::migrated();
    let running = Filter::new().state(JobState::Running);
    let dead = Filter::new().state(JobState::Dead);

    let errors = [
        admin::purge(running.clone())
            .run(&mut db.sync())
            .unwrap_err(),
        admin::requeue(running.clone())
            .run(&mut db.sync())
            .unwrap_err(),
        admin::run_now(running).run(&mut db.sync()).unwrap_err(),
        admin::cancel(dead).run(&mut db.sync()).unwrap_err(),
    ];

    for (error, verb) in errors.iter().zip(["purge", "requeue", "run_now", "cancel"]) {
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(error.to_string().starts_with(verb), "{error}");
    }
}

#[tokio::test]
async fn the_audit_says_who_did_what_to_which_job_and_why() {
    for on in BOTH {
        let db = TestDatabase::migrated();
        let id = ended(&db, JobState::Dead, 1)[0];

        let filter = Filter::new().kind("job").error_contains("503");
        let action = admin::requeue(filter)
            .by("alice")
            .because("the warehouse is back");
        act(on, &db, action).await;
        act(on, &db, admin::cancel(id)).await;

        let full = format!(
            "job_id = {id} AND jobs = 1 AND action = 'requeue' AND actor = 'alice' AND reason = 'the warehouse is back' \
             AND details = '{{\"kind\": \"job\", \"error_contains\": \"503\"}}'"
        );
        assert_eq!(audited(&db, &full), 1);
        let bare = format!(
            "job_id = {id} AND action = 'cancel' AND actor = session_user AND reason IS NULL AND details = '{{\"ids\": [{id}]}}'"
        );
        assert_eq!(audited(&db, &bare), 1);
    }
}

#[tokio::test]
async fn what_changes_nothing_leaves_no_trace_in_the_audit() {
    let db = TestDatabase::migrated();

    admin::purge(Filter::new()).run(&mut db.sync()).unwrap();
    admin::requeue(vec![1, 2]).run(&mut db.sync()).unwrap();
    admin::resume("mail").run(&mut db.sync()).unwrap();

    assert_eq!(audited(&db, "true"), 0);
}

#[tokio::test]
async fn pause_and_resume_tell_whether_they_changed_anything_and_are_audited() {
    let db = TestDatabase::migrated();
    let mut conn = db.asynchronous().await;

    let pause = || {
        admin::pause("mail")
            .by("bob")
            .because("the provider is down")
    };
    let paused = pause().run(&mut db.sync()).unwrap();
    let again = pause().run_async(&mut conn).await.unwrap();
    let resumed = admin::resume("mail").run_async(&mut conn).await.unwrap();
    let nothing = admin::resume("mail").run(&mut db.sync()).unwrap();

    assert_eq!(
        [paused, again, resumed, nothing],
        [true, false, true, false]
    );
    let full = "queue = 'mail' AND actor = 'bob' AND action = 'pause' AND reason = 'the provider is down' AND jobs = 0";
    assert_eq!(audited(&db, full), 1);
    assert_eq!(audited(&db, "queue = 'mail' AND action = 'resume'"), 1);
}

#[tokio::test]
async fn a_queue_that_cannot_exist_is_refused() {
    let db = TestDatabase::migrated();

    let errors = ["", "nul\0"].map(|queue| admin::pause(queue).run(&mut db.sync()).unwrap_err());

    for error in errors {
        assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
        assert!(
            error.to_string().starts_with("name of the queue"),
            "{error}"
        );
    }
}

#[tokio::test]
async fn an_action_on_a_schema_without_our_tables_names_the_migration() {
    let db = TestDatabase::empty();

    let action = admin::requeue(1).run(&mut db.sync()).unwrap_err();
    let pause = admin::pause("mail").run(&mut db.sync()).unwrap_err();

    assert_eq!(
        [action.kind(), pause.kind()],
        [ErrorKind::Migration, ErrorKind::Migration]
    );
}
