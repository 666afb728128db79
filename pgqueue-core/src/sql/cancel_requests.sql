-- Lists the running jobs of a worker that somebody wants stopped.
-- $1 worker bigint
-- uses index pgqueue_jobs_running
SELECT j.id, j.fencing_token
FROM pgqueue_jobs AS j
WHERE j.state = 'running'
  AND j.claimed_by = $1::bigint
  AND j.cancel_requested_at IS NOT NULL
