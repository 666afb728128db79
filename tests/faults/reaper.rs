//! Whom the reaper takes for dead, whom it leaves alone, and what becomes of their jobs.

use super::*;
use crate::stuck::judge_of_nothing;
use diesel::connection::SimpleConnection;
use pgqueue_core::{Context, JobState, new};

/// Makes a job that runs in the name of a worker that is not registered.
fn orphan(db: &TestDatabase) -> i64 {
    let job = enqueue_for_nobody(db);
    give_to(db, job, 999_999);
    job
}

/// Makes a job that is not due before it is given to somebody.
fn enqueue_for_nobody(db: &TestDatabase) -> i64 {
    let job = new(Act::Return).delay(Duration::from_secs(3600));
    job.enqueue(&mut db.sync()).unwrap().id
}

fn give_to(db: &TestDatabase, job: i64, worker: i64) {
    db.execute(&format!(
        "UPDATE pgqueue_jobs
         SET state = 'running', claimed_by = {worker}, claim_batch = 1, attempt = 1, fencing_token = 1, started_at = now()
         WHERE id = {job}"
    ));
}

/// Registers a worker that beats for ever and does nothing else.
fn register_idler(db: &TestDatabase) -> i64 {
    db.execute(
        "INSERT INTO pgqueue_workers (name, host, pid, version, queues, kinds, expires_at)
         VALUES ('idler', 'nowhere', 0, '0', '{}', '{}', 'infinity')",
    );
    db.number("SELECT id FROM pgqueue_workers WHERE name = 'idler'")
}

#[tokio::test]
async fn a_running_job_whose_owner_is_not_registered_is_rescued() {
    let db = TestDatabase::migrated();
    let job = orphan(&db);

    let _worker = judge(&db).await;
    let row = db.wait_for_state(job, JobState::Completed).await;

    assert_eq!(
        (row.attempt, row.lost, failures(&row)),
        (2, 1, vec!["lost"])
    );
}

#[tokio::test]
async fn a_worker_rescues_nobody_before_it_has_beaten_for_a_lease_itself() {
    let db = TestDatabase::migrated();
    let job = orphan(&db);

    let _worker = judge(&db).await;
    let started_at = time(
        &db,
        "SELECT started_at FROM pgqueue_workers WHERE name = 'here'",
    );
    let row = db.wait_for_state(job, JobState::Completed).await;

    let waited = failed_at(&row) - started_at;
    assert!(
        waited >= TimeDelta::from_std(LEASE).unwrap(),
        "waited {waited}"
    );
}

#[tokio::test]
async fn a_deposed_worker_registers_anew_and_cannot_end_what_somebody_else_has_taken() {
    let db = TestDatabase::migrated();
    let mut deposed = process_named(&db, "deposed");
    let job = enqueue(&db, Act::Wait);
    deposed.wait_for_begin(job).await;
    let old = db.job(job).claimed_by.unwrap();

    // Somebody takes the job and keeps it.
    let idler = register_idler(&db);
    db.execute(&format!(
        "DELETE FROM pgqueue_workers WHERE id = {old};
         UPDATE pgqueue_jobs SET claimed_by = {idler}, fencing_token = 2 WHERE id = {job}"
    ));
    deposed.open_gate();
    deposed.wait_for("its end changed nothing").await;
    deposed.wait_for("goes on under a new id").await;
    let next = enqueue(&db, Act::Return);
    db.wait_for_state(next, JobState::Completed).await;
    deposed.wait_for_begin(next).await;

    let row = db.job(job);
    assert_eq!(
        (row.state, row.claimed_by),
        (JobState::Running, Some(idler))
    );
    let new = db.number("SELECT id FROM pgqueue_workers WHERE name = 'deposed'");
    assert!(new > old);
}

#[tokio::test]
async fn a_worker_whose_id_was_given_to_another_registers_anew_and_leaves_that_lease_alone() {
    let db = TestDatabase::migrated();
    let first = process_named(&db, "first");
    wait_for_workers(&db, "first", 1).await;
    let id = db.number("SELECT id FROM pgqueue_workers");

    // As after a failover that lost the registration of the first one, and the values of the sequence.
    db.execute(&format!(
        "DELETE FROM pgqueue_workers;
         INSERT INTO pgqueue_workers (id, name, host, pid, version, queues, kinds, expires_at)
         OVERRIDING SYSTEM VALUE
         VALUES ({id}, 'second', 'h', 1, '0', '{{}}', '{{}}', clock_timestamp() + interval '1 hour')"
    ));
    first.wait_for("goes on under a new id").await;

    wait_for_workers(&db, "first", 1).await;
    let second = format!(
        "SELECT count(*) FROM pgqueue_workers
         WHERE id = {id} AND name = 'second' AND expires_at > clock_timestamp() + interval '30 min'"
    );
    assert_eq!(db.number(&second), 1);
}

#[tokio::test]
async fn the_end_of_a_run_that_was_rescued_meanwhile_is_a_lost_lease() {
    let db = TestDatabase::migrated();
    let mut deposed = process_named(&db, "deposed");
    let job = enqueue(&db, Act::Wait);
    deposed.wait_for_begin(job).await;

    // As the reaper leaves it, waiting for its turn: nobody has claimed it yet.
    db.execute(&format!(
        "UPDATE pgqueue_jobs
         SET state = 'pending', claimed_by = NULL, claim_batch = NULL, lost = 1, run_at = now() + interval '1 hour'
         WHERE id = {job}"
    ));
    deposed.open_gate();
    deposed.wait_for("its end changed nothing").await;

    let row = db.job(job);
    assert_eq!(
        (row.state, row.attempt, row.lost),
        (JobState::Pending, 1, 1)
    );
}

/// Another end waits for a lock until both runs have ended, so that one statement is to store both ends.
#[tokio::test]
async fn a_stale_run_that_ends_with_the_current_one_of_its_job_is_told_apart_from_it() {
    let db = TestDatabase::migrated();
    let mut deposed = process_named(&db, "deposed");
    let job = enqueue(&db, Act::Wait);
    deposed.wait_for_begin(job).await;
    db.execute(&format!(
        "UPDATE pgqueue_jobs SET state = 'pending', claimed_by = NULL, claim_batch = NULL WHERE id = {job}"
    ));
    deposed.wait_for_begins(job, 2).await;

    let other = enqueue(&db, Act::Block(Duration::from_millis(500)));
    deposed.wait_for_begin(other).await;
    let mut holder = db.sync();
    let lock = format!("BEGIN; SELECT FROM pgqueue_jobs WHERE id = {other} FOR UPDATE");
    holder.batch_execute(&lock).unwrap();
    let waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
    wait_until("the other end waits", async || db.number(waiting) > 0).await;
    deposed.open_gate();
    let ended = format!("ended {job}");
    wait_until("both runs have ended", async || deposed.said(&ended) == 2).await;
    holder.batch_execute("COMMIT").unwrap();
    let row = db.wait_for_state(job, JobState::Completed).await;
    deposed.wait_for("its end changed nothing").await;

    assert_eq!((row.attempt, row.fencing_token), (2, 2));
    let counted = "SELECT count(*) FROM pgqueue_stats WHERE completed = 2 AND lease_lost = 1";
    wait_until("two ends are counted, and one lost lease", async || {
        db.number(counted) == 1
    })
    .await;
}

#[tokio::test]
async fn an_overdue_job_whose_owner_does_not_stop_it_is_taken_a_lease_after_its_deadline() {
    let db = TestDatabase::migrated();
    let idler = register_idler(&db);
    let job = enqueue_for_nobody(&db);
    give_to(&db, job, idler);
    db.execute(&format!(
        "UPDATE pgqueue_jobs SET deadline_at = now() + interval '1 second' WHERE id = {job}"
    ));
    let deadline = db.job(job).deadline_at.unwrap();

    let _worker = judge(&db).await;
    let row = db.wait_for_state(job, JobState::Completed).await;

    assert_eq!(
        (row.attempt, row.lost, failures(&row)),
        (2, 0, vec!["timeout"])
    );
    let waited = failed_at(&row) - deadline;
    assert!(
        waited >= TimeDelta::from_std(LEASE).unwrap(),
        "taken {waited} after the deadline"
    );
    assert_within(deadline, failed_at(&row), LEASE + 2 * REAP);
}

#[tokio::test]
async fn a_job_of_a_living_owner_is_left_alone() {
    let db = TestDatabase::migrated();
    let idler = register_idler(&db);
    let (kept, lost) = (enqueue_for_nobody(&db), orphan(&db));
    give_to(&db, kept, idler);

    let _worker = judge(&db).await;
    db.wait_for_state(lost, JobState::Completed).await;

    let row = db.job(kept);
    assert_eq!(
        (row.state, row.claimed_by),
        (JobState::Running, Some(idler))
    );
}

#[tokio::test]
async fn a_job_that_was_to_be_cancelled_when_its_worker_died_is_cancelled_by_the_reaper() {
    let db = TestDatabase::migrated();
    let mut victim = process_named(&db, "victim");
    let job = enqueue(&db, Act::Never);
    victim.wait_for_begin(job).await;
    victim.kill();
    db.execute("UPDATE pgqueue_jobs SET cancel_requested_at = now()");

    let _other = judge_of_nothing(&db).await;
    let row = db.wait_for_state(job, JobState::Cancelled).await;

    assert_eq!((row.attempt, row.claimed_by), (1, None));
    assert!(row.finished_at.is_some());
}

#[tokio::test]
async fn more_lost_jobs_than_fit_a_batch_are_all_rescued() {
    let db = TestDatabase::migrated();
    db.execute(
        "INSERT INTO pgqueue_jobs (kind, payload, state, claimed_by, claim_batch, attempt, fencing_token, started_at)
         SELECT 'nothing', '{}', 'running', 900000 + n % 3, 1, 1, 1, now() FROM generate_series(1, 1200) AS n",
    );
    let worker = builder(&db).handle_kind("nothing", async |_, _: Context| Ok::<_, String>(()));

    let _worker = run(worker.build().unwrap());
    let rescued = "SELECT count(*) FROM pgqueue_jobs WHERE lost = 1";
    wait_until("all are rescued", async || db.number(rescued) == 1200).await;

    assert_eq!(
        db.number("SELECT count(*) FROM pgqueue_jobs WHERE claimed_by >= 900000"),
        0
    );
}
