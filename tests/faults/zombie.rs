//! A process that stops for longer than its lease and wakes up again: what it still believes changes nothing.

use super::*;
use diesel::prelude::*;
use pgqueue_core::JobState;
use pgqueue_core::schema::pgqueue_stats;
use pgqueue_core::stats::{self, BucketRow};
use rustix::process::{Pid, Signal, kill_process};

/// Sends a signal to a worker process.
pub(crate) fn signal(process: &WorkerProcess, signal: Signal) {
    let id = Pid::from_raw(process.id().try_into().unwrap()).unwrap();
    kill_process(id, signal).unwrap();
}

/// Stops a process that runs a job, waits until another one runs the job, and wakes the first one up with its gate open.
/// Answers the other one, whose gate is shut, and the job's row.
async fn outlived(
    db: &TestDatabase,
    zombie: &mut WorkerProcess,
    job: i64,
) -> (WorkerProcess, JobRow) {
    zombie.wait_for_begin(job).await;
    let other = process_named(db, "other");
    wait_until_judging(db, "other").await;
    signal(zombie, Signal::STOP);
    other.wait_for_begin(job).await;
    let row = db.job(job);
    zombie.open_gate();
    signal(zombie, Signal::CONT);
    (other, row)
}

#[tokio::test]
async fn the_late_end_of_a_stopped_process_changes_nothing_and_it_works_on_under_a_new_id() {
    let db = TestDatabase::migrated();
    let mut zombie = process_named(&db, "zombie");
    let job = enqueue(&db, Act::Wait);

    let (mut other, row) = outlived(&db, &mut zombie, job).await;
    zombie.wait_for("its end changed nothing").await;
    assert_eq!(db.job(job), row, "as the other one runs it");
    other.open_gate();
    let row = db.wait_for_state(job, JobState::Completed).await;
    drop(other);
    let next = enqueue(&db, Act::Return);
    db.wait_for_state(next, JobState::Completed).await;
    zombie.wait_for_begin(next).await;

    assert_eq!((row.attempt, row.lost, row.fencing_token), (2, 1, 2));
    assert_eq!(failures(&row), ["lost"]);
    assert_eq!(db.job(next).attempt, 1);
    let new = db.number("SELECT id FROM pgqueue_workers WHERE name = 'zombie'");
    assert!(new > 2, "{new} is younger than both");
}

/// Checks that one worker has counted one run as lost, and another one its end as late, and nobody that run as failed.
async fn assert_counted_as_late(db: &TestDatabase) {
    let from = Utc::now() - TimeDelta::hours(1);
    let to = Utc::now() + TimeDelta::hours(1);
    let kinds = || stats::kinds(&mut db.sync(), from, to).unwrap();
    wait_until("the loss and the late end are counted", async || {
        let seen = kinds();
        seen.iter().any(|kind| kind.lost > 0 && kind.lease_lost > 0)
    })
    .await;
    let act = kinds().remove(0);
    assert_eq!((act.lost, act.lease_lost, act.failed), (1, 1, 0));
    let buckets: Vec<BucketRow> = pgqueue_stats::table
        .select(BucketRow::as_select())
        .filter(
            pgqueue_stats::lost
                .gt(0)
                .or(pgqueue_stats::lease_lost.gt(0)),
        )
        .load(&mut db.sync())
        .unwrap();
    let [one, two] = &buckets[..] else {
        panic!("{buckets:?}")
    };
    assert_ne!(one.worker_id, two.worker_id);
}

#[tokio::test]
async fn the_late_transaction_of_a_stopped_process_is_refused_and_rolls_back() {
    let db = TestDatabase::migrated();
    db.execute("CREATE TABLE effects (job bigint, token bigint)");
    let mut zombie = process_named(&db, "zombie");
    let job = enqueue(&db, Act::CompleteIn);

    let (mut other, row) = outlived(&db, &mut zombie, job).await;
    zombie.wait_for(&format!("refused {job}")).await;
    zombie.wait_for("its end changed nothing").await;
    assert_eq!(db.job(job), row);
    assert_eq!(db.number("SELECT count(*) FROM effects"), 0);
    other.open_gate();
    db.wait_for_state(job, JobState::Completed).await;

    assert_eq!(db.number("SELECT count(*) FROM effects"), 1);
    assert_eq!(db.number("SELECT max(token) FROM effects"), 2);
    assert_counted_as_late(&db).await;
}
