//! Duplicates that race: one is inserted, all others name it, none fails.

use std::sync::{Arc, Barrier};
use std::thread;

use diesel::prelude::*;
use diesel::result::Error::RollbackTransaction;
use pgqueue_core::{Enqueued, JobState, enqueue_all};
use pgqueue_suite::TestDatabase;

use super::{job, wait_until_blocked};

const BACKENDS: usize = 64;
const ROUNDS: usize = 20;

fn assert_one_winner(db: &TestDatabase, key: &str, answers: &[Enqueued]) {
    let winners = answers.iter().filter(|answer| answer.inserted).count();
    let id = answers[0].id;
    assert_eq!(winners, 1, "{key}");
    assert!(
        answers.iter().all(|answer| answer.id == id),
        "{key}: {answers:?}"
    );
    assert_eq!(db.job(id).unique_key.as_deref(), Some(key));
}

/// Starts an enqueue of key `k` in a thread of its own, on a connection of its own.
fn enqueue_in_thread(db: &TestDatabase) -> thread::JoinHandle<QueryResult<Enqueued>> {
    let mut conn = db.sync();
    thread::spawn(move || job("second").unique_key("k").enqueue(&mut conn))
}

#[test]
fn of_64_racing_duplicates_one_is_inserted_and_63_name_it() {
    let db = TestDatabase::migrated();
    let barrier = Arc::new(Barrier::new(BACKENDS));

    let racers: Vec<_> = (0..BACKENDS)
        .map(|_| {
            let (mut conn, barrier) = (db.sync(), Arc::clone(&barrier));
            thread::spawn(move || {
                let race = |round| {
                    barrier.wait();
                    job("email")
                        .unique_key(format!("round {round}"))
                        .enqueue(&mut conn)
                };
                (0..ROUNDS).map(race).collect::<QueryResult<Vec<_>>>()
            })
        })
        .collect();
    let answers: Vec<Vec<Enqueued>> = racers
        .into_iter()
        .map(|racer| racer.join().unwrap().unwrap())
        .collect();

    for round in 0..ROUNDS {
        let answers: Vec<Enqueued> = answers.iter().map(|of_racer| of_racer[round]).collect();
        assert_one_winner(&db, &format!("round {round}"), &answers);
    }
    assert_eq!(db.count(JobState::Pending), 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_64_racing_async_duplicates_one_is_inserted_and_63_name_it() {
    let db = TestDatabase::migrated();
    let barrier = Arc::new(tokio::sync::Barrier::new(BACKENDS));
    let mut racers = Vec::new();
    for _ in 0..BACKENDS {
        let (mut conn, barrier) = (db.asynchronous().await, Arc::clone(&barrier));
        racers.push(tokio::spawn(async move {
            let mut answers = Vec::new();
            for round in 0..ROUNDS {
                barrier.wait().await;
                let job = job("email").unique_key(format!("round {round}"));
                answers.push(job.enqueue_async(&mut conn).await.unwrap());
            }
            answers
        }));
    }

    let mut answers = Vec::new();
    for racer in racers {
        answers.push(racer.await.unwrap());
    }

    for round in 0..ROUNDS {
        let answers: Vec<Enqueued> = answers.iter().map(|of_racer| of_racer[round]).collect();
        assert_one_winner(&db, &format!("round {round}"), &answers);
    }
}

#[test]
fn racing_duplicates_of_a_job_that_ends_meanwhile_never_fail() {
    let db = TestDatabase::migrated();
    let racers = 8;
    let barrier = Arc::new(Barrier::new(racers + 1));

    let threads: Vec<_> = (0..racers)
        .map(|_| {
            let (mut conn, barrier) = (db.sync(), Arc::clone(&barrier));
            thread::spawn(move || {
                let race = |_| {
                    barrier.wait();
                    job("email").unique_key("k").enqueue(&mut conn)
                };
                (0..100).map(race).collect::<QueryResult<Vec<_>>>()
            })
        })
        .collect();
    let mut conn = db.sync();
    for _ in 0..100 {
        barrier.wait();
        let complete = "UPDATE pgqueue_jobs SET state = 'completed', finished_at = now() WHERE state = 'pending'";
        diesel::sql_query(complete).execute(&mut conn).unwrap();
    }

    let answers: Vec<Enqueued> = threads
        .into_iter()
        .flat_map(|racer| racer.join().unwrap().unwrap())
        .collect();
    let inserted = answers.iter().filter(|answer| answer.inserted).count();
    assert_eq!(answers.len(), 800);
    assert_eq!(
        db.jobs().len(),
        inserted,
        "each row was announced as inserted exactly once"
    );
}

#[test]
fn a_conflict_that_commits_while_we_wait_is_answered_with_its_job() {
    let db = TestDatabase::migrated();
    let mut first = db.sync();

    let (held, waiting) = first
        .transaction(|conn| {
            let held = job("first").unique_key("k").enqueue(conn)?;
            let waiting = enqueue_in_thread(&db);
            wait_until_blocked(&db, 1);
            QueryResult::Ok((held, waiting))
        })
        .unwrap();

    let answer = waiting.join().unwrap();
    assert_eq!(
        answer,
        Ok(Enqueued {
            id: held.id,
            inserted: false
        })
    );
    assert_eq!(db.jobs().len(), 1);
}

#[test]
fn a_conflict_that_commits_while_a_bulk_enqueue_waits_is_answered_with_its_job() {
    let db = TestDatabase::migrated();
    let (mut first, mut second) = (db.sync(), db.sync());

    let (held, waiting) = first
        .transaction(|conn| {
            let held = job("first").unique_key("k").enqueue(conn)?;
            let jobs = ["j", "k", "l"].map(|key| job("second").unique_key(key));
            let waiting = thread::spawn(move || enqueue_all(&mut second, jobs));
            wait_until_blocked(&db, 1);
            QueryResult::Ok((held, waiting))
        })
        .unwrap();

    let answers = waiting.join().unwrap().unwrap();
    assert_eq!(
        answers
            .iter()
            .map(|answer| answer.inserted)
            .collect::<Vec<_>>(),
        [true, false, true]
    );
    assert_eq!(answers[1].id, held.id);
    assert_eq!(db.jobs().len(), 3);
}

#[test]
fn a_conflict_that_rolls_back_while_we_wait_lets_us_insert() {
    let db = TestDatabase::migrated();
    let mut first = db.sync();
    let mut waiting = None;

    let rolled_back: QueryResult<()> = first.transaction(|conn| {
        job("first").unique_key("k").enqueue(conn)?;
        waiting = Some(enqueue_in_thread(&db));
        wait_until_blocked(&db, 1);
        Err(RollbackTransaction)
    });

    assert_eq!(rolled_back, Err(RollbackTransaction));
    let answer = waiting.unwrap().join().unwrap().unwrap();
    assert!(answer.inserted);
    assert_eq!(db.job(answer.id).kind, "second");
    assert_eq!(db.jobs().len(), 1);
}

#[test]
fn a_conflict_whose_job_has_ended_when_it_commits_lets_us_insert() {
    let db = TestDatabase::migrated();
    let mut first = db.sync();

    let (held, waiting) = first
        .transaction(|conn| {
            let held = job("first").unique_key("k").enqueue(conn)?;
            let waiting = enqueue_in_thread(&db);
            wait_until_blocked(&db, 1);
            let complete = "UPDATE pgqueue_jobs SET state = 'completed', finished_at = now()";
            diesel::sql_query(complete).execute(conn)?;
            QueryResult::Ok((held, waiting))
        })
        .unwrap();

    let answer = waiting.join().unwrap().unwrap();
    assert!(answer.inserted);
    assert_ne!(answer.id, held.id);
    assert_eq!(db.jobs().len(), 2);
}

#[test]
fn keys_in_opposite_order_from_two_calls_never_deadlock() {
    let db = TestDatabase::migrated();
    let barrier = Arc::new(Barrier::new(2));
    let call = |backwards: bool| {
        let (mut conn, barrier) = (db.sync(), Arc::clone(&barrier));
        thread::spawn(move || {
            let race = |round: usize| {
                let mut jobs: Vec<_> = (0..1500)
                    .map(|n| job("email").unique_key(format!("{round} {n}")))
                    .collect();
                if backwards {
                    jobs.reverse();
                }
                barrier.wait();
                let mut answers = conn.transaction(|conn| enqueue_all(conn, jobs))?;
                if backwards {
                    answers.reverse();
                }
                QueryResult::Ok(answers)
            };
            (0..10).map(race).collect::<QueryResult<Vec<_>>>()
        })
    };

    let (forwards, backwards) = (call(false), call(true));
    let forwards = forwards.join().unwrap().unwrap().concat();
    let backwards = backwards.join().unwrap().unwrap().concat();

    assert_eq!(db.count(JobState::Pending), 15_000);
    for (one, other) in forwards.iter().zip(&backwards) {
        assert_eq!(one.id, other.id);
        assert_ne!(one.inserted, other.inserted);
    }
}
