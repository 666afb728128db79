//! Many jobs in one call: answers in order, duplicates as one by one, statements of 1,000 rows.

use std::time::Duration;

use chrono::{TimeZone, Utc};
use diesel::prelude::*;
use diesel::result::Error::RollbackTransaction;
use pgqueue_core::{Enqueued, Error, JobState, NewJob, enqueue_all, enqueue_all_async};
use pgqueue_suite::TestDatabase;
use serde_json::json;

use super::job;

/// Makes a job that can be told by its payload; every third has a key, and keys come in no order.
fn numbered(n: u32) -> NewJob {
    let job =
        NewJob::new("email", json!(n)).queue(if n.is_multiple_of(2) { "mail" } else { "slow" });
    if n.is_multiple_of(3) {
        job.unique_key(format!("key {}", (n * 7919) % 10_007))
    } else {
        job
    }
}

#[test]
fn nothing_is_answered_for_nothing() {
    let db = TestDatabase::migrated();

    assert_eq!(enqueue_all(&mut db.sync(), []), Ok(vec![]));
}

#[test]
fn answers_come_in_the_order_of_the_call_over_several_statements() {
    let db = TestDatabase::migrated();

    let answers = enqueue_all(&mut db.sync(), (0..2500).map(numbered)).unwrap();

    assert_eq!(answers.len(), 2500);
    let rows = db.jobs();
    let payload_of = |id| {
        rows.iter()
            .find(|row| row.id == id)
            .map(|row| row.payload.clone())
    };
    for (n, answer) in answers.iter().enumerate() {
        assert!(answer.inserted);
        assert_eq!(payload_of(answer.id), Some(json!(n)));
    }
}

#[tokio::test]
async fn an_async_call_answers_in_order_too() {
    let db = TestDatabase::migrated();
    let mut conn = db.asynchronous().await;

    let answers = enqueue_all_async(&mut conn, (0..2500).map(numbered))
        .await
        .unwrap();

    let rows = db.jobs();
    let payload_of = |id| {
        rows.iter()
            .find(|row| row.id == id)
            .map(|row| row.payload.clone())
    };
    for (n, answer) in answers.iter().enumerate() {
        assert_eq!(payload_of(answer.id), Some(json!(n)));
    }
}

#[tokio::test]
async fn an_async_call_takes_a_shared_connection() {
    let db = TestDatabase::migrated();
    let conn = db.asynchronous().await;

    let (mut one, mut other) = (&conn, &conn);
    let (one, other) = tokio::try_join!(
        enqueue_all_async(&mut one, (0..10).map(numbered)),
        enqueue_all_async(&mut other, (10..20).map(numbered)),
    )
    .unwrap();

    assert_eq!((one.len(), other.len()), (10, 10));
    assert_eq!(db.count(JobState::Pending), 20);
}

#[test]
fn jobs_without_keys_get_ids_in_the_order_of_the_call() {
    let db = TestDatabase::migrated();

    let answers = enqueue_all(&mut db.sync(), (0..1200).map(|_| job("email"))).unwrap();

    assert!(answers.is_sorted_by_key(|answer| answer.id));
}

#[test]
fn settings_that_jobs_share_and_settings_that_they_do_not_arrive_alike() {
    let due = |n: u32| Utc.timestamp_opt(1_900_000_000 + i64::from(n), 0).unwrap();
    let varied = |n: u32| {
        let job = NewJob::new(format!("kind {n}"), json!(n))
            .queue(format!("queue {n}"))
            .priority(i16::try_from(n % 10).unwrap())
            .max_retries(i32::try_from(n).unwrap());
        match n % 3 {
            0 => job.run_at(due(n)),
            1 => job.timeout(Duration::from_secs(u64::from(n))),
            _ => job.tag(format!("tag {n}")),
        }
    };
    for keyed in [false, true] {
        for same in [false, true] {
            let db = TestDatabase::migrated();
            let jobs = (0..30).map(|n| {
                let job = varied(if same { 10 } else { n });
                if keyed {
                    job.unique_key(format!("key {n:02}"))
                } else {
                    job
                }
            });
            let jobs: Vec<NewJob> = jobs.collect();

            let mut one_by_one = db.sync();
            for job in jobs.clone() {
                job.enqueue(&mut one_by_one).unwrap();
            }
            let expected = settings(&db);
            db.execute("DELETE FROM pgqueue_jobs");
            enqueue_all(&mut db.sync(), jobs).unwrap();

            assert_eq!(settings(&db), expected, "keyed: {keyed}, same: {same}");
        }
    }
}

/// Gives what the jobs were enqueued with.
fn settings(db: &TestDatabase) -> Vec<String> {
    db.texts(
        "SELECT concat_ws('|', queue, kind, payload, priority, max_retries, unique_key, timeout, metadata,
                          CASE WHEN run_at > now() THEN run_at END)
         FROM pgqueue_jobs ORDER BY queue, payload, unique_key",
    )
}

#[test]
fn a_delay_of_all_and_a_delay_of_some_are_counted_from_the_call() {
    let db = TestDatabase::migrated();
    let later = |seconds| job("email").delay(Duration::from_secs(seconds));

    enqueue_all(&mut db.sync(), [later(600), later(600)]).unwrap();
    enqueue_all(&mut db.sync(), [later(600), job("now")]).unwrap();

    let waits =
        "SELECT count(*) FROM pgqueue_jobs WHERE run_at - created_at BETWEEN '599 s' AND '601 s'";
    assert_eq!((db.number(waits), db.jobs().len()), (3, 4));
}

#[test]
fn rows_that_a_trigger_of_the_host_leaves_out_are_an_error_and_no_wrong_ids() {
    let db = TestDatabase::migrated();
    db.execute(
        "CREATE FUNCTION leave_out() RETURNS trigger LANGUAGE plpgsql AS
             $$ BEGIN RETURN CASE WHEN NEW.payload = '1' THEN NULL ELSE NEW END; END $$;
         CREATE TRIGGER leave_out BEFORE INSERT ON pgqueue_jobs FOR EACH ROW EXECUTE FUNCTION leave_out()",
    );

    let jobs = (0..3).map(|n| NewJob::new("email", json!(n)));
    let error = enqueue_all(&mut db.sync(), jobs).unwrap_err();

    let error = Error::of(&error).unwrap().to_string();
    assert!(error.contains("stored 2 of 3 jobs"), "{error}");
}

#[test]
fn a_duplicate_within_the_call_is_answered_with_the_first_of_its_key() {
    let db = TestDatabase::migrated();
    let keyed = |queue: &str, key: &str| job("email").queue(queue).unique_key(key);

    let answers = enqueue_all(
        &mut db.sync(),
        [
            keyed("mail", "b"),
            keyed("mail", "a"),
            keyed("slow", "b"),
            keyed("mail", "b"),
            keyed("mail", "a"),
        ],
    )
    .unwrap();

    assert_eq!(
        answers
            .iter()
            .map(|answer| answer.inserted)
            .collect::<Vec<_>>(),
        [true, true, true, false, false]
    );
    assert_eq!(
        (answers[3].id, answers[4].id),
        (answers[0].id, answers[1].id)
    );
    assert_eq!(db.count(JobState::Pending), 3);
}

#[test]
fn a_duplicate_of_a_job_in_the_table_is_answered_with_that_job() {
    let db = TestDatabase::migrated();
    let mut conn = db.sync();
    let taken = job("first").unique_key("k").enqueue(&mut conn).unwrap();

    let answers = enqueue_all(
        &mut conn,
        ["k", "l", "k"].map(|key| job("second").unique_key(key)),
    )
    .unwrap();

    let duplicate = Enqueued {
        id: taken.id,
        inserted: false,
    };
    assert_eq!((answers[0], answers[2]), (duplicate, duplicate));
    assert!(answers[1].inserted);
}

#[test]
fn a_call_of_nothing_but_duplicates_names_each_job_over_several_statements() {
    let db = TestDatabase::migrated();
    let mut conn = db.sync();
    let jobs = || (0..2500).map(|n| job("email").unique_key(format!("key {n}")));
    let first = enqueue_all(&mut conn, jobs()).unwrap();

    let second = enqueue_all(&mut conn, jobs()).unwrap();

    let expected: Vec<_> = first
        .into_iter()
        .map(|answer| Enqueued {
            inserted: false,
            ..answer
        })
        .collect();
    assert_eq!(second, expected);
}

#[test]
fn one_invalid_job_refuses_the_call_and_is_named_by_its_position() {
    let db = TestDatabase::migrated();
    let mut jobs: Vec<_> = (0..1500).map(numbered).collect();
    jobs[1234] = job("email").priority(10);

    let error = enqueue_all(&mut db.sync(), jobs).unwrap_err();

    let error = Error::of(&error).unwrap();
    assert_eq!(error.invalid().unwrap().field, "priority");
    assert!(
        error.to_string().contains("jobs[1234] of the call"),
        "{error}"
    );
    assert_eq!(db.jobs().len(), 0);
}

#[test]
fn a_rolled_back_call_enqueues_nothing() {
    let db = TestDatabase::migrated();

    let outcome: QueryResult<()> = db.sync().transaction(|conn| {
        enqueue_all(conn, (0..1500).map(numbered))?;
        Err(RollbackTransaction)
    });

    assert_eq!(outcome, Err(RollbackTransaction));
    assert_eq!(db.jobs().len(), 0);
}

#[test]
fn large_payloads_travel_in_one_call() {
    let db = TestDatabase::migrated();
    let jobs = (0..20).map(|_| NewJob::new("email", json!("x".repeat(1_000_000))));

    let answers = enqueue_all(&mut db.sync(), jobs).unwrap();

    assert_eq!(answers.len(), 20);
    assert_eq!(
        db.number("SELECT sum(octet_length(payload::text)) FROM pgqueue_jobs"),
        20 * 1_000_002
    );
}
