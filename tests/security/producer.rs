//! The producer enqueues in every way there is.

use super::*;
use diesel_async::{AsyncConnection, AsyncPgConnection};
use pgqueue_core::schema::pgqueue_jobs;
use pgqueue_core::{JobState, NewJob, enqueue_all, enqueue_all_async};
use serde_json::json;

fn job() -> NewJob {
    NewJob::new("email", json!({"to": "ann"}))
}

fn keyed(key: &str) -> NewJob {
    let job = job().unique_key(key).priority(1).max_retries(9);
    let job = job.timeout(std::time::Duration::from_secs(5));
    job.delay(std::time::Duration::from_secs(5))
        .metadata("by", "a test")
}

#[test]
fn a_producer_enqueues_single_keyed_and_bulk_jobs_on_a_sync_connection() {
    let db = TestDatabase::migrated();
    let roles = Roles::of(&db, "producer_sync");
    let mut conn = roles.connect(&db, "shop_web");

    let single = job().enqueue(&mut conn).unwrap();
    let first = keyed("k").enqueue(&mut conn).unwrap();
    let repeat = keyed("k").enqueue(&mut conn).unwrap();
    let bulk = enqueue_all(&mut conn, [job(), keyed("k"), keyed("l"), job()]).unwrap();
    diesel::insert_into(pgqueue_jobs::table)
        .values(vec![job(), job()])
        .execute(&mut conn)
        .unwrap();

    assert!(single.inserted && first.inserted);
    assert_eq!((repeat.id, repeat.inserted), (first.id, false));
    let inserted: Vec<bool> = bulk.iter().map(|answer| answer.inserted).collect();
    assert_eq!(inserted, [true, false, true, true]);
    assert_eq!(bulk[1].id, first.id);
    assert_eq!(db.count(JobState::Pending), 7);
    roles.drop(&db);
}

#[tokio::test]
async fn a_producer_enqueues_single_keyed_and_bulk_jobs_on_an_async_connection() {
    let db = TestDatabase::migrated();
    let roles = Roles::of(&db, "producer_async");
    let url = roles.url(&db, "shop_web");
    let mut conn = AsyncPgConnection::establish(&url).await.unwrap();

    let single = job().enqueue_async(&mut conn).await.unwrap();
    let first = keyed("k").enqueue_async(&mut conn).await.unwrap();
    let repeat = keyed("k").enqueue_async(&mut conn).await.unwrap();
    let bulk = enqueue_all_async(&mut conn, [job(), keyed("k"), keyed("l")])
        .await
        .unwrap();

    assert!(single.inserted && first.inserted && bulk[2].inserted);
    assert_eq!((repeat.id, repeat.inserted), (first.id, false));
    assert_eq!((bulk[1].id, bulk[1].inserted), (first.id, false));
    assert_eq!(db.count(JobState::Pending), 4);
    roles.drop(&db);
}

#[test]
fn a_producer_wakes_workers_although_it_cannot_read_what_they_want() {
    let db = TestDatabase::migrated();
    let roles = Roles::of(&db, "producer_wakes");
    db.execute("INSERT INTO pgqueue_wake VALUES ('default', true, '5 s')");
    let mut conn = roles.connect(&db, "shop_web");
    conn.batch_execute("LISTEN \"pgqueue.public\"").unwrap();

    job().enqueue(&mut conn).unwrap();

    let heard: Vec<String> = conn
        .notifications_iter()
        .map(|heard| heard.unwrap().payload)
        .collect();
    assert_eq!(heard, ["default"]);
    roles.drop(&db);
}
