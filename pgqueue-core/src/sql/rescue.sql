-- Takes running jobs from dead workers: back to pending after a jittered delay, or dead when out of retries,
-- or when they have ended max_lost processes while they were the only suspect, or cancelled when that was asked for.
-- $1 dead workers, pinned by an earlier statement: a subquery here could take the jobs of a live one bigint[]
-- $2 solitary losses allowed integer
-- $3 seconds of the first delay double precision
-- $4 most jobs bigint
-- uses index pgqueue_jobs_running, then the primary key
WITH stranded AS MATERIALIZED (
    SELECT j.id
    FROM pgqueue_jobs AS j
    WHERE j.state = 'running'
      AND j.claimed_by = ANY ($1::bigint[])
    LIMIT $4::bigint
    FOR UPDATE SKIP LOCKED
)
UPDATE pgqueue_jobs AS j
SET state = CASE
        WHEN j.cancel_requested_at IS NOT NULL THEN 'cancelled'
        WHEN j.attempt > j.max_retries OR j.lost >= $2::integer THEN 'dead'
        ELSE 'pending'
    END,
    finished_at = CASE
        WHEN j.cancel_requested_at IS NOT NULL OR j.attempt > j.max_retries OR j.lost >= $2::integer THEN now()
    END,
    run_at = now() + make_interval(secs => random() * least(3600, $3::double precision * power(4, least(j.lost, 20)))),
    lost = least(j.lost, 2147483646) + 1,
    claimed_by = NULL,
    claim_batch = NULL,
    deadline_at = NULL,
    errors = CASE WHEN jsonb_array_length(j.errors) >= 10 THEN j.errors - 0 ELSE j.errors END || jsonb_build_object(
        'at', now(),
        'attempt', j.attempt,
        'kind', 'lost',
        'message', 'the worker ' || j.claimed_by || ' died while it had this job'
    )
WHERE j.id = ANY (ARRAY(SELECT stranded.id FROM stranded))
  AND j.state = 'running'
  AND j.claimed_by = ANY ($1::bigint[])
RETURNING j.id, j.queue, j.kind, j.state, now()
