//! The unique key: one pending or running job a queue; free again afterwards.

use diesel::prelude::*;
use pgqueue_core::{Enqueued, JobState, enqueue_all};
use pgqueue_suite::TestDatabase;

use super::job;

/// Moves a job to a state as the engine would.
fn set_state(db: &TestDatabase, id: i64, state: JobState) {
    let rest = match state {
        JobState::Pending => "finished_at = NULL, claimed_by = NULL",
        JobState::Running => "finished_at = NULL, claimed_by = 1",
        _ => "finished_at = now(), claimed_by = NULL",
    };
    db.execute(&format!(
        "UPDATE pgqueue_jobs SET state = '{state}', {rest} WHERE id = {id}"
    ));
}

#[test]
fn a_key_is_taken_while_its_job_is_pending_or_running_and_free_afterwards() {
    let cases = [
        (JobState::Pending, false),
        (JobState::Running, false),
        (JobState::Completed, true),
        (JobState::Dead, true),
        (JobState::Cancelled, true),
    ];
    for (state, free) in cases {
        let db = TestDatabase::migrated();
        let mut conn = db.sync();
        let first = job("email")
            .unique_key("user:123")
            .enqueue(&mut conn)
            .unwrap();
        set_state(&db, first.id, state);

        let second = job("email")
            .unique_key("user:123")
            .enqueue(&mut conn)
            .unwrap();

        assert_eq!(second.inserted, free, "{state}");
        assert_eq!(second.id != first.id, free, "{state}");
    }
}

#[test]
fn a_duplicate_leaves_the_job_as_it_was() {
    let db = TestDatabase::migrated();
    let mut conn = db.sync();
    let first = job("email")
        .unique_key("user:123")
        .priority(7)
        .enqueue(&mut conn)
        .unwrap();
    let before = db.job(first.id);

    let second = job("other")
        .unique_key("user:123")
        .priority(1)
        .max_retries(0)
        .enqueue(&mut conn)
        .unwrap();

    assert_eq!(
        second,
        Enqueued {
            id: first.id,
            inserted: false
        }
    );
    assert_eq!(db.jobs(), [before]);
}

#[test]
fn a_duplicate_does_not_abort_the_transaction() {
    let db = TestDatabase::migrated();
    let mut conn = db.sync();
    let taken = job("email")
        .unique_key("user:123")
        .enqueue(&mut conn)
        .unwrap();

    let (duplicate, other) = conn
        .transaction(|conn| {
            let duplicate = job("email").unique_key("user:123").enqueue(conn)?;
            QueryResult::Ok((duplicate, job("other").enqueue(conn)?))
        })
        .unwrap();

    assert_eq!(
        duplicate,
        Enqueued {
            id: taken.id,
            inserted: false
        }
    );
    assert!(other.inserted);
    assert_eq!(db.count(JobState::Pending), 2);
}

#[test]
fn a_transaction_meets_its_own_key() {
    let db = TestDatabase::migrated();
    let mut conn = db.sync();

    let (first, second, third) = conn
        .transaction(|conn| {
            let first = job("email").unique_key("user:123").enqueue(conn)?;
            let second = job("email").unique_key("user:123").enqueue(conn)?;
            let third = enqueue_all(conn, [job("email").unique_key("user:123")])?;
            QueryResult::Ok((first, second, third[0]))
        })
        .unwrap();

    assert!(first.inserted);
    assert_eq!(
        second,
        Enqueued {
            id: first.id,
            inserted: false
        }
    );
    assert_eq!(third, second);
}

#[test]
fn queues_have_keys_of_their_own() {
    let db = TestDatabase::migrated();
    let mut conn = db.sync();

    let mail = job("email")
        .queue("mail")
        .unique_key("user:123")
        .enqueue(&mut conn)
        .unwrap();
    let slow = job("email")
        .queue("slow")
        .unique_key("user:123")
        .enqueue(&mut conn)
        .unwrap();
    let again = job("email")
        .queue("mail")
        .unique_key("user:123")
        .enqueue(&mut conn)
        .unwrap();

    assert!(mail.inserted && slow.inserted);
    assert_eq!(
        again,
        Enqueued {
            id: mail.id,
            inserted: false
        }
    );
}

#[test]
fn a_job_without_a_key_is_never_a_duplicate() {
    let db = TestDatabase::migrated();
    let mut conn = db.sync();

    let first = job("email").enqueue(&mut conn).unwrap();
    let second = job("email").enqueue(&mut conn).unwrap();

    assert!(first.inserted && second.inserted);
    assert_ne!(first.id, second.id);
}

#[test]
fn a_duplicate_does_not_lock_the_job_that_has_the_key() {
    let db = TestDatabase::migrated();
    let (mut host, mut other) = (db.sync(), db.sync());
    let id = job("email")
        .unique_key("user:123")
        .enqueue(&mut other)
        .unwrap()
        .id;

    host.transaction(|conn| {
        job("email").unique_key("user:123").enqueue(conn)?;

        let locked = diesel::sql_query(format!(
            "SELECT FROM pgqueue_jobs WHERE id = {id} FOR UPDATE NOWAIT"
        ))
        .execute(&mut other);
        assert_eq!(
            locked,
            Ok(1),
            "a worker can take the job while the host's transaction is open"
        );
        QueryResult::Ok(())
    })
    .unwrap();
}
