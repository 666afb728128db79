-- Releases, unburnt, jobs that a claim took for this worker although its answer never arrived.
-- $1 worker bigint
-- $2 newest claim that has ended bigint
-- $3 jobs the worker knows of bigint[]
-- uses index pgqueue_jobs_running, then the primary key
WITH forgotten AS MATERIALIZED (
    SELECT j.id
    FROM pgqueue_jobs AS j
    WHERE j.state = 'running'
      AND j.claimed_by = $1::bigint
      AND j.claim_batch <= $2::bigint
      AND j.id <> ALL ($3::bigint[])
    FOR UPDATE SKIP LOCKED
)
UPDATE pgqueue_jobs AS j
SET state = CASE WHEN j.cancel_requested_at IS NULL THEN 'pending' ELSE 'cancelled' END,
    finished_at = CASE WHEN j.cancel_requested_at IS NOT NULL THEN now() END,
    attempt = j.attempt - 1,
    claimed_by = NULL,
    claim_batch = NULL,
    deadline_at = NULL
WHERE j.id = ANY (ARRAY(SELECT forgotten.id FROM forgotten))
  AND j.claimed_by = $1::bigint
  AND j.claim_batch <= $2::bigint
RETURNING j.id
