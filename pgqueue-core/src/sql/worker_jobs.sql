-- Lists what a worker runs, the longest runs first.
-- $1 worker bigint
-- $2 most jobs that are answered bigint
-- uses index pgqueue_jobs_running; the order is within the first thousand of that worker
SELECT k.id, k.queue, k.kind, k.attempt, k.started_at, k.deadline_at, k.cancel_requested_at
FROM (
    SELECT j.id, j.queue, j.kind, j.attempt, j.started_at, j.deadline_at, j.cancel_requested_at
    FROM pgqueue_jobs AS j
    WHERE j.state = 'running' AND j.claimed_by = $1::bigint
    ORDER BY j.claimed_by
    LIMIT 1000
) AS k
ORDER BY k.started_at, k.id
LIMIT $2::bigint
