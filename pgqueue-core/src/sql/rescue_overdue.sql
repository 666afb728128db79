-- Takes running jobs that are a whole lease past their deadline: their worker beats, but does not enforce it.
-- $1 lease interval
-- $2 most jobs bigint
-- uses index pgqueue_jobs_running, then the primary key
WITH overdue AS MATERIALIZED (
    SELECT j.id
    FROM pgqueue_jobs AS j
    WHERE j.state = 'running'
      AND j.claimed_by IS NOT NULL
      AND j.deadline_at < now() - $1::interval
    LIMIT $2::bigint
    FOR UPDATE SKIP LOCKED
)
UPDATE pgqueue_jobs AS j
SET state = CASE
        WHEN j.cancel_requested_at IS NOT NULL THEN 'cancelled'
        WHEN j.attempt > j.max_retries THEN 'dead'
        ELSE 'pending'
    END,
    finished_at = CASE WHEN j.cancel_requested_at IS NOT NULL OR j.attempt > j.max_retries THEN now() END,
    run_at = now() + make_interval(secs => least(86400, power(2, least(j.attempt, 30) - 1))),
    claimed_by = NULL,
    claim_batch = NULL,
    deadline_at = NULL,
    errors = CASE WHEN jsonb_array_length(j.errors) >= 10 THEN j.errors - 0 ELSE j.errors END || jsonb_build_object(
        'at', now(),
        'attempt', j.attempt,
        'kind', 'timeout',
        'message', 'ran past its deadline and its worker ' || j.claimed_by || ' did not stop it'
    )
WHERE j.id = ANY (ARRAY(SELECT overdue.id FROM overdue))
  AND j.state = 'running'
  AND j.deadline_at < now() - $1::interval
RETURNING j.id, j.queue, j.kind, j.state, now()
