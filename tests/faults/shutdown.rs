//! Orderly ends: what runs may finish, what cannot is given back whole, and the process is gone in time.

use super::*;
use crate::zombie::signal;
use pgqueue_core::JobState;
use pgqueue_suite::process::Grind;
use rustix::process::Signal;

const NEVER: Duration = Duration::from_secs(3600);

fn settings(db: &TestDatabase, grace: Duration) -> Settings {
    Settings {
        grace,
        ..Settings::new(db.url(), "leaving", LEASE)
    }
}

/// Sends SIGTERM and waits until it was heard.
async fn terminate(process: &WorkerProcess) {
    signal(process, Signal::TERM);
    process.wait_for("stopping gracefully").await;
}

/// Checks that a job was given back as if it had never been claimed.
fn assert_released(row: &JobRow) {
    assert_eq!(
        (row.state, row.attempt, row.lost),
        (JobState::Pending, 0, 0)
    );
    assert_eq!((row.claimed_by, failures(row)), (None, vec![]));
}

#[tokio::test]
async fn a_terminated_process_ends_what_it_runs_and_claims_no_more() {
    let db = TestDatabase::migrated();
    let mut leaving = process(&settings(&db, NEVER));
    let running = enqueue(&db, Act::Wait);
    leaving.wait_for_begin(running).await;

    terminate(&leaving).await;
    let late = enqueue(&db, Act::Return);
    leaving.open_gate();
    let exit = leaving.wait_for_exit().await;

    assert!(exit.success(), "{exit}");
    assert_eq!(db.job(running).state, JobState::Completed);
    assert_released(&db.job(late));
    assert_eq!(db.number("SELECT count(*) FROM pgqueue_workers"), 0);
}

#[tokio::test]
async fn what_outlives_the_grace_period_is_released_unburnt_and_run_elsewhere_at_once() {
    let db = TestDatabase::migrated();
    let mut leaving = process(&settings(&db, Duration::from_millis(300)));
    let job = enqueue(&db, Act::Never);
    leaving.wait_for_begin(job).await;
    // It would not find the job by itself for an hour: the release has to wake it.
    let other = builder(&db).handle(async |_: Act, _| Ok::<_, String>("here"));
    let _other = run(other.poll_interval(NEVER).build().unwrap());
    wait_until("the other worker wants to be woken", async || {
        db.number("SELECT count(*) FROM pgqueue_wake WHERE wanted AND horizon >= interval '1 hour'")
            == 1
    })
    .await;

    terminate(&leaving).await;
    let exit = leaving.wait_for_exit().await;
    let row = db.wait_for_state(job, JobState::Completed).await;

    assert!(exit.success(), "{exit}");
    assert_eq!((row.attempt, row.lost, row.fencing_token), (1, 0, 2));
    assert_eq!(
        (failures(&row), row.output.clone()),
        (vec![], Some("here".into()))
    );
}

#[tokio::test]
async fn a_second_signal_skips_the_grace_period() {
    let db = TestDatabase::migrated();
    let mut leaving = process(&settings(&db, NEVER));
    let job = enqueue(&db, Act::Wait);
    leaving.wait_for_begin(job).await;

    terminate(&leaving).await;
    signal(&leaving, Signal::TERM);
    let exit = leaving.wait_for_exit().await;

    assert!(exit.success(), "{exit}");
    assert_released(&db.job(job));
    assert_eq!(db.number("SELECT count(*) FROM pgqueue_workers"), 0);
}

#[tokio::test]
async fn a_blocking_handler_is_released_and_does_not_hold_the_exit() {
    let db = TestDatabase::migrated();
    let mut leaving = process(&settings(&db, Duration::from_millis(300)));
    let job = enqueue(&db, Grind(NEVER));
    leaving.wait_for_begin(job).await;

    terminate(&leaving).await;
    let exit = leaving.wait_for_exit().await;

    assert!(exit.success(), "{exit}");
    assert_released(&db.job(job));
}

#[tokio::test]
async fn one_signal_ends_the_worker_and_the_actix_server_beside_it() {
    let db = TestDatabase::migrated();
    let mut leaving = process(&Settings {
        actix: true,
        ..settings(&db, NEVER)
    });
    let job = enqueue(&db, Act::Wait);
    leaving.wait_for_begin(job).await;

    terminate(&leaving).await;
    leaving.open_gate();
    let exit = leaving.wait_for_exit().await;

    leaving.wait_for("server stopped").await;
    leaving.wait_for("worker stopped").await;
    assert!(exit.success(), "{exit}");
    assert_eq!(db.job(job).state, JobState::Completed);
}
