-- Stores a worker's own counts: absolute values of its own rows, so that a repeat changes nothing.
-- $1 rows, sorted by bucket, queue, kind, worker jsonb
-- uses the primary key
INSERT INTO pgqueue_stats AS s (
    bucket, worker_id, completed, failed, dead, cancelled, snoozed, lost, lease_lost, run_ms_sum, wait_ms_sum, queue, kind, run_ms, wait_ms
)
SELECT r.bucket, r.worker_id, r.completed, r.failed, r.dead, r.cancelled, r.snoozed, r.lost, r.lease_lost, r.run_ms_sum, r.wait_ms_sum, r.queue, r.kind, r.run_ms, r.wait_ms
FROM jsonb_to_recordset($1::jsonb) AS r(
    bucket timestamptz,
    worker_id bigint,
    completed bigint,
    failed bigint,
    dead bigint,
    cancelled bigint,
    snoozed bigint,
    lost bigint,
    lease_lost bigint,
    run_ms_sum bigint,
    wait_ms_sum bigint,
    queue text,
    kind text,
    run_ms bigint[],
    wait_ms bigint[]
)
ON CONFLICT (bucket, queue, kind, worker_id) DO UPDATE
SET completed = excluded.completed,
    failed = excluded.failed,
    dead = excluded.dead,
    cancelled = excluded.cancelled,
    snoozed = excluded.snoozed,
    lost = excluded.lost,
    lease_lost = excluded.lease_lost,
    run_ms_sum = excluded.run_ms_sum,
    wait_ms_sum = excluded.wait_ms_sum,
    run_ms = excluded.run_ms,
    wait_ms = excluded.wait_ms
RETURNING s.worker_id
