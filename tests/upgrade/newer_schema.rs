//! This version on the schema of the next one: every kind of work goes on.

use std::time::Duration;

use diesel_async::{AsyncConnection, AsyncPgConnection};
use pgqueue_core::admin::{self, Control, Filter, Plan};
use pgqueue_core::{
    BoxError, Context, Error, JobState, NewJob, Outcome, RawJob, Worker, enqueue_all,
    enqueue_all_async, migrate, migrate_async,
};
use pgqueue_suite::TestDatabase;
use serde_json::json;

use crate::{NEXT, NEXT_VERSION, job};

fn upgraded() -> TestDatabase {
    let db = TestDatabase::migrated();
    db.execute(NEXT);
    db
}

/// A worker whose handler does what the kind of the job says.
fn worker(db: &TestDatabase) -> Worker {
    let retries = async |_: RawJob, ctx: Context| match ctx.attempt() {
        1 => Err("once"),
        _ => Ok(()),
    };
    let completes = async |_: RawJob, ctx: Context| {
        let mut conn = ctx.connection().await?;
        ctx.progress(json!({"percent": 50})).await?;
        ctx.complete_in_async(&mut conn).await?;
        Ok::<_, BoxError>(())
    };
    let builder = Worker::builder(db.url())
        .handle_kind("job", async |_, _| Ok::<_, String>("done"))
        .handle_kind("retries", retries)
        .handle_kind("completes", completes)
        .handle_kind("dies", async |_, _| Ok::<_, String>(Outcome::dead("no")));
    builder.retry_base_wait(Duration::ZERO).build().unwrap()
}

#[test]
fn migrating_finds_nothing_to_do_and_leaves_the_newer_version_alone() {
    let db = upgraded();

    migrate(&mut db.sync()).unwrap();

    let newer = format!("SELECT count(*) FROM pgqueue_migrations WHERE version = '{NEXT_VERSION}'");
    assert_eq!(db.number(&newer), 1);
}

#[tokio::test]
async fn jobs_are_enqueued_in_every_way_and_run_to_every_end() {
    let db = upgraded();
    let (mut sync, mut conn) = (db.sync(), db.asynchronous().await);
    migrate_async(&mut conn).await.unwrap();
    let kind = |kind: &str| NewJob::new(kind, json!({}));

    let retries = kind("retries").enqueue(&mut sync).unwrap().id;
    let completes = kind("completes").enqueue_async(&mut conn).await.unwrap().id;
    let dies = kind("dies").unique_key("a").enqueue(&mut sync).unwrap().id;
    enqueue_all(&mut sync, [job(), job().unique_key("b")]).unwrap();
    enqueue_all_async(&mut conn, [job(), job().unique_key("b")])
        .await
        .unwrap();
    // A retry without a wait is due at once, and empties the queue later than this call may see.
    while db.count(JobState::Pending) > 0 {
        worker(&db).run_until_empty().await.unwrap();
    }

    assert_eq!(db.count(JobState::Completed), 5);
    assert_eq!((db.job(retries).attempt, db.job(completes).attempt), (2, 1));
    assert_eq!(db.job(dies).state, JobState::Dead);
    let defaults = "SELECT count(*) FROM pgqueue_jobs WHERE next_count = 7 AND next_note IS NULL";
    assert_eq!(db.number(defaults), 6);
}

#[tokio::test]
async fn a_requeue_keeps_what_the_next_version_wrote() {
    let db = upgraded();
    let dies = NewJob::new("dies", json!({}));
    let id = dies.enqueue(&mut db.sync()).unwrap().id;
    worker(&db).run_until_empty().await.unwrap();
    db.execute("UPDATE pgqueue_jobs SET next_note = 'kept', next_count = 8");

    let requeued = admin::requeue(id).run(&mut db.sync()).unwrap();
    worker(&db).run_until_empty().await.unwrap();

    assert_eq!((requeued.changed, db.job(id).state), (1, JobState::Dead));
    let kept = "SELECT count(*) FROM pgqueue_jobs WHERE next_note = 'kept' AND next_count = 8";
    assert_eq!(db.number(kept), 1);
}

#[tokio::test]
async fn a_purge_and_its_undo_go_over_jobs_from_before_the_migration() {
    let db = TestDatabase::migrated();
    db.execute(
        "INSERT INTO pgqueue_jobs (kind, payload, state, finished_at)
         SELECT 'job', '{}', 'dead', now() FROM generate_series(1, 20)",
    );
    let mut conn = db.asynchronous().await;
    let purge = admin::purge(Filter::new()).by("alice").because("a test");
    let id = purge.start_async(&mut conn, Plan::default()).await.unwrap();
    advance(&mut conn, id).await;
    assert_eq!(db.number("SELECT count(*) FROM pgqueue_jobs"), 0);

    db.execute(NEXT);
    let undone = conn.transaction::<bool, Error, _>(async |conn| {
        admin::control_async(conn, id, Control::Undo, "bob").await
    });
    assert!(undone.await.unwrap());
    advance(&mut conn, id).await;

    assert_eq!(db.count(JobState::Dead), 20);
}

/// Does an operation to its end.
async fn advance(conn: &mut AsyncPgConnection, id: i64) {
    let mut more = true;
    while more {
        let step =
            conn.transaction::<bool, Error, _>(async |conn| admin::advance_async(conn, id).await);
        more = step.await.unwrap();
    }
}
