//! Jobs that misbehave inside a living process: they harm themselves, and nobody takes the process for dead.

use super::*;
use pgqueue_core::{JobState, new};

#[tokio::test]
async fn a_panicking_job_fails_and_its_process_works_on() {
    let db = TestDatabase::migrated();
    let process = process_named(&db, "calm");
    let job = new(Act::Panic).max_retries(1);
    let job = job.enqueue(&mut db.sync()).unwrap().id;

    let row = db.wait_for_state(job, JobState::Dead).await;
    process.wait_for_begins(job, 2).await;
    let next = enqueue(&db, Act::Return);
    db.wait_for_state(next, JobState::Completed).await;

    assert_eq!((row.attempt, row.lost), (2, 0));
    assert_eq!(failures(&row), ["panic", "panic"]);
    assert_eq!(row.errors[0].message, "panicked: as it was told to");
}

#[tokio::test]
async fn a_job_that_aborts_its_process_once_a_run_is_counted_each_time() {
    let db = TestDatabase::migrated();
    let _other = judge_of_nothing(&db).await;
    let job = enqueue(&db, Act::Abort);

    for crashes in 1..=2 {
        let mut victim = process_named(&db, "victim");
        victim.wait_for_exit().await;
        wait_until("the crash is counted", async || db.job(job).lost == crashes).await;
    }

    let row = db.job(job);
    assert_eq!((row.state, row.attempt), (JobState::Pending, 2));
    assert_eq!(failures(&row), ["lost", "lost"]);
}

#[tokio::test]
async fn a_job_that_never_ends_is_stopped_at_its_timeout_and_frees_its_slot() {
    let db = TestDatabase::migrated();
    let never = async |_: Act, _| {
        std::future::pending::<()>().await;
        Ok::<_, String>(())
    };
    let worker = builder(&db)
        .handle(never)
        .concurrency(1)
        .stop_wait(Duration::from_millis(50));
    let _worker = run(worker.build().unwrap());
    let stuck = |timeout| {
        let job = new(Act::Never).max_retries(0).timeout(timeout);
        job.enqueue(&mut db.sync()).unwrap().id
    };

    let timeout = Duration::from_millis(300);
    let (first, second) = (stuck(timeout), stuck(timeout));
    let first = db.wait_for_state(first, JobState::Dead).await;
    let second = db.wait_for_state(second, JobState::Dead).await;

    for row in [first, second] {
        assert_eq!((failures(&row), row.attempt), (vec!["timeout"], 1));
        let ran = failed_at(&row) - row.started_at.unwrap();
        assert!(ran >= TimeDelta::from_std(timeout).unwrap(), "ran {ran}");
    }
}

#[tokio::test]
async fn a_job_of_ten_leases_runs_once() {
    let db = TestDatabase::migrated();
    let process = process_named(&db, "patient");
    let job = enqueue(&db, Act::Never);
    process.wait_for_begin(job).await;
    let _other = judge(&db).await;

    let old = format!(
        "SELECT count(*) FROM pgqueue_jobs WHERE id = {job} AND started_at < clock_timestamp() - interval '18 seconds'"
    );
    wait_until("it has run for ten leases", async || db.number(&old) == 1).await;

    let row = db.job(job);
    assert_eq!(
        (row.state, row.attempt, row.lost),
        (JobState::Running, 1, 0)
    );
    assert_eq!(process.begins(job), 1);
}

#[tokio::test]
async fn a_runtime_of_one_thread_that_a_job_blocks_for_five_leases_is_not_taken_for_dead() {
    a_blocked_runtime_is_not_taken_for_dead(0, 1).await;
}

#[tokio::test]
async fn a_runtime_whose_threads_are_all_blocked_for_five_leases_is_not_taken_for_dead() {
    a_blocked_runtime_is_not_taken_for_dead(2, 4).await;
}

async fn a_blocked_runtime_is_not_taken_for_dead(threads: usize, jobs: usize) {
    let db = TestDatabase::migrated();
    let mut settings = Settings::new(db.url(), "blocked", LEASE);
    settings.threads = threads;
    let _other = judge_of_nothing(&db).await;
    let blocked = process(&settings);
    wait_until_judging(&db, "blocked").await;

    let jobs: Vec<i64> = (0..jobs)
        .map(|_| enqueue(&db, Act::Block(5 * LEASE)))
        .collect();
    db.wait_for_count(JobState::Completed, i64::try_from(jobs.len()).unwrap())
        .await;

    for job in jobs {
        blocked.wait_for_begin(job).await;
        let row = db.job(job);
        assert_eq!((row.attempt, row.lost, blocked.begins(job)), (1, 0, 1));
        let ran = row.finished_at.unwrap() - row.started_at.unwrap();
        assert!(ran >= TimeDelta::from_std(5 * LEASE).unwrap(), "ran {ran}");
    }
    assert_eq!(blocked.said("goes on under a new id"), 0);
}

/// Starts a worker that rescues but runs no [`Act`], and waits until it may judge others.
pub(crate) async fn judge_of_nothing(db: &TestDatabase) -> Running {
    let worker = builder(db)
        .handle_kind("nothing", async |_, _| Ok::<_, String>(()))
        .build()
        .unwrap();
    let running = run(worker);
    wait_until_judging(db, "here").await;
    running
}
