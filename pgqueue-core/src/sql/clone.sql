-- Enqueues a copy of a job without its unique key, due now.
-- $1 id bigint, $2 actor text, $3 reason text
-- uses the primary key
WITH copy AS (
    INSERT INTO pgqueue_jobs (queue, kind, payload, priority, max_retries, timeout, metadata)
    SELECT
        j.queue,
        j.kind,
        j.payload,
        j.priority,
        j.max_retries,
        j.timeout,
        coalesce(j.metadata, '{}') || jsonb_build_object('cloned_from', j.id)
    FROM pgqueue_jobs AS j
    WHERE j.id = $1
    RETURNING id, queue
),
audit AS (
    INSERT INTO pgqueue_audit (job_id, jobs, actor, action, queue, reason, details)
    SELECT $1, 1, coalesce($2, session_user), 'clone', c.queue, $3, jsonb_build_object('clone', c.id)
    FROM copy AS c
)
SELECT c.id FROM copy AS c
