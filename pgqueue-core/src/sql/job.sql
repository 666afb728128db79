-- Everything of one job; JSON as its exact text.
-- $1 id bigint
-- uses the primary keys
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
    j.deadline_at,
    j.cancel_requested_at,
    j.attempt,
    j.max_retries,
    j.lost,
    j.claimed_by,
    (SELECT w.name || ' on ' || w.host || ', process ' || w.pid FROM pgqueue_workers AS w WHERE w.id = j.claimed_by),
    j.unique_key,
    j.timeout,
    j.payload::text,
    j.metadata::text,
    j.progress::text,
    j.output::text,
    j.errors::text,
    j.xmin::text
FROM pgqueue_jobs AS j
WHERE j.id = $1
