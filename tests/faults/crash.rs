//! Processes that die: what they ran comes back in time, whoever is left, and dead names do not keep it.

use super::*;
use pgqueue_core::JobState;

#[tokio::test]
async fn a_job_whose_process_was_killed_is_run_again_by_another_worker_in_time() {
    let db = TestDatabase::migrated();
    let mut victim = process_named(&db, "victim");
    let job = enqueue(&db, Act::Wait);
    victim.wait_for_begin(job).await;
    let _other = judge(&db).await;

    let killed_at = now(&db);
    victim.kill();
    let row = db.wait_for_state(job, JobState::Completed).await;

    assert_eq!(failures(&row), ["lost"]);
    assert_eq!((row.attempt, row.lost), (2, 1));
    assert_eq!(row.output, Some("here".into()));
    assert_within(killed_at, failed_at(&row), LEASE + 2 * REAP);
    assert_within(failed_at(&row), row.started_at.unwrap(), Duration::ZERO);
}

#[tokio::test]
async fn a_sole_worker_that_was_killed_finds_its_job_again_after_its_restart_in_time() {
    let db = TestDatabase::migrated();
    let mut victim = process_named(&db, "sole");
    let job = enqueue(&db, Act::Wait);
    victim.wait_for_begin(job).await;
    victim.kill();

    let restarted_at = now(&db);
    let mut restarted = process_named(&db, "sole");
    restarted.open_gate();
    let row = db.wait_for_state(job, JobState::Completed).await;

    assert_eq!((row.attempt, row.lost), (2, 1));
    assert_within(restarted_at, failed_at(&row), 2 * LEASE + 2 * REAP);
}

#[tokio::test]
async fn a_restarted_process_of_the_same_name_does_not_keep_its_old_jobs_alive() {
    let db = TestDatabase::migrated();
    let mut victim = process_named(&db, "pod-0");
    let job = enqueue(&db, Act::Wait);
    victim.wait_for_begin(job).await;
    let _other = judge(&db).await;
    let old = db.job(job).claimed_by;

    victim.kill();
    let _restarted = process_named(&db, "pod-0");
    wait_for_workers(&db, "pod-0", 2).await;
    wait_until("the job is taken from the old one", async || {
        db.job(job).claimed_by != old
    })
    .await;

    let row = db.job(job);
    assert_eq!((failures(&row), row.lost), (vec!["lost"], 1));
    wait_for_workers(&db, "pod-0", 1).await;
}

#[tokio::test]
async fn a_job_without_retries_is_dead_after_one_crash() {
    let db = TestDatabase::migrated();
    let job = pgqueue_core::new(Act::Abort).max_retries(0);
    let job = job.enqueue(&mut db.sync()).unwrap().id;

    let mut victim = process_named(&db, "victim");
    victim.wait_for_exit().await;
    let _other = judge(&db).await;
    let row = db.wait_for_state(job, JobState::Dead).await;

    assert_eq!((row.attempt, row.lost), (1, 1));
    assert_eq!(failures(&row), ["lost"]);
}

#[tokio::test]
async fn a_crash_costs_no_job_its_only_run_that_waited_for_a_slot() {
    let db = TestDatabase::migrated();
    let jobs = (0..2000).map(|_| pgqueue_core::new(Act::Return));
    let crash = std::iter::once(pgqueue_core::new(Act::Abort));
    let with_retries = (0..100).map(|_| pgqueue_core::new(Act::Return).queue("default"));
    let without = (0..100).map(|_| pgqueue_core::new(Act::Return).max_retries(0));
    let all = jobs.chain(crash).chain(with_retries).chain(without);
    pgqueue_core::enqueue_all(&mut db.sync(), all.collect::<Vec<_>>()).unwrap();
    let mut settings = Settings::new(db.url(), "victim", LEASE);
    settings.concurrency = 1;

    process(&settings).wait_for_exit().await;
    let behind = "id > (SELECT id FROM pgqueue_jobs WHERE payload = '\"Abort\"')";
    let held = format!("SELECT count(*) FROM pgqueue_jobs WHERE state = 'running' AND {behind}");
    let held = db.number(&held);
    let _other = judge(&db).await;
    db.wait_for_count(JobState::Completed, 2201).await;

    assert!(held > 0, "nothing was claimed ahead");
    let lost = |condition: &str| {
        db.number(&format!(
            "SELECT count(*) FROM pgqueue_jobs WHERE {behind} AND lost = 1 AND {condition}"
        ))
    };
    assert_eq!(lost("attempt = 2 AND max_retries > 0"), held);
    assert_eq!(lost("max_retries = 0"), 0);
}
