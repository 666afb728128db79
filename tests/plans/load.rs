//! The jobs that the statements are measured on.

use pgqueue_suite::TestDatabase;
use tokio_postgres::Client;

use super::meter::{Session, connect};

/// Makes an empty database whose statistics say that it is empty, and where nothing corrects them.
pub(super) async fn empty_and_analysed() -> (TestDatabase, Client) {
    let db = TestDatabase::migrated();
    let loader = connect(&db, Session::Host).await;
    loader
        .batch_execute(
            "ALTER TABLE pgqueue_jobs SET (autovacuum_enabled = off);
             INSERT INTO pgqueue_workers (name, host, pid, version, queues, kinds, expires_at)
             VALUES ('w', 'h', 1, '1', '{}', '{email}', 'infinity');
             ANALYZE pgqueue_jobs;
             SET session_replication_role = replica;
             SET work_mem = '64MB'",
        )
        .await
        .unwrap();
    (db, loader)
}

/// Loads a busy queue: 300,000 pending jobs, 10,000 running ones of 100 workers, 500,000 completed, some dead and cancelled.
///
/// Worker 1 is the only one that is registered. Ids: pending from 1, running from 300,001.
pub(super) async fn load(loader: &Client) {
    loader
        .batch_execute(
            "INSERT INTO pgqueue_jobs (id, kind, payload, run_at, unique_key)
             SELECT i, 'email', '{}', now() - interval '1 hour' + i * interval '1 ms', 'key ' || i
             FROM generate_series(1, 300000) AS i;

             INSERT INTO pgqueue_jobs (id, kind, payload, state, claimed_by, claim_batch, attempt, fencing_token, started_at, deadline_at, cancel_requested_at)
             SELECT 300000 + i, 'email', '{}', 'running', i % 100 + 1, i / 500, 1, 1, now(),
                    now() - CASE WHEN i % 2 = 0 THEN interval '1 min' END, CASE WHEN i = 500 THEN now() END
             FROM generate_series(1, 10000) AS i;

             INSERT INTO pgqueue_jobs (id, kind, payload, state, finished_at)
             SELECT 400000 + i, 'email', '{}', 'completed', now() - interval '12 hours' + i * interval '50 ms'
             FROM generate_series(1, 500000) AS i;

             INSERT INTO pgqueue_trash (operation, id, job)
             SELECT 7, j.id, to_jsonb(j) FROM pgqueue_jobs AS j WHERE j.id BETWEEN 1 AND 20;
             INSERT INTO pgqueue_trash (operation, id, job)
             SELECT 8, j.id + 10000000, to_jsonb(j) || jsonb_build_object('id', j.id + 10000000, 'unique_key', NULL) FROM pgqueue_jobs AS j WHERE j.id BETWEEN 1 AND 20;

             INSERT INTO pgqueue_jobs (id, kind, payload, state, finished_at, cause)
             SELECT 1000000 + i, 'email', '{}', CASE WHEN i % 4 = 0 THEN 'cancelled' ELSE 'dead' END, now() - interval '12 hours' + i * interval '1 s', i % 3
             FROM generate_series(1, 20000) AS i;

             INSERT INTO pgqueue_jobs (id, kind, payload, lost, run_at)
             SELECT 1100000 + i, 'email', '{}', 1, now() - interval '1 min' FROM generate_series(1, 100) AS i;

             SELECT setval('pgqueue_jobs_id_seq', 2000000)",
        )
        .await
        .unwrap();
}
