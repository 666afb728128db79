-- What a list tells of some jobs.
-- $1 ids bigint[]
-- uses the primary key
SELECT
    j.id,
    j.state,
    j.queue,
    j.kind,
    j.priority,
    j.run_at,
    j.created_at,
    j.started_at,
    j.finished_at,
    j.attempt,
    j.max_retries,
    j.lost,
    j.claimed_by,
    j.cancel_requested_at,
    j.unique_key,
    left(j.payload::text, 200),
    left(coalesce(j.errors -> -1 ->> 'message', (j.errors -> -1)::text), 500)
FROM pgqueue_jobs AS j
WHERE j.id = ANY ($1)
ORDER BY j.id
