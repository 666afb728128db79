-- Claims one due job that lost a process before: a process runs at most one such job at a time.
-- $1 queues with a free slot text[]
-- $2 kinds that the worker handles text[]
-- $3 worker bigint
-- $4 number of this claim bigint
-- $5 longest run of a job that has no timeout of its own interval
-- uses index pgqueue_jobs_suspect (the only one that gives this order)
WITH picked AS MATERIALIZED (
    SELECT due.id
    FROM (
        SELECT l.queue
        FROM unnest($1::text[]) AS l(queue)
        WHERE NOT EXISTS (SELECT FROM pgqueue_queues AS q WHERE q.name = l.queue AND q.paused_at IS NOT NULL)
          AND EXISTS (SELECT FROM pgqueue_workers AS w WHERE w.id = $3::bigint)
    ) AS lane
    CROSS JOIN LATERAL (
        SELECT j.id
        FROM pgqueue_jobs AS j
        WHERE j.queue = lane.queue
          AND j.state = 'pending'
          AND j.lost > 0
          AND j.run_at <= now()
          AND j.kind = ANY ($2::text[])
        ORDER BY j.run_at, j.id
        LIMIT 1
        FOR UPDATE SKIP LOCKED
    ) AS due
    LIMIT 1
)
UPDATE pgqueue_jobs AS j
SET state = 'running',
    attempt = least(j.attempt, 2147483646) + 1,
    fencing_token = j.fencing_token + 1,
    claimed_by = $3::bigint,
    claim_batch = $4::bigint,
    started_at = now(),
    deadline_at = now() + coalesce(j.timeout, $5::interval)
WHERE j.id = ANY (ARRAY(SELECT picked.id FROM picked))
RETURNING
    j.id,
    j.fencing_token,
    j.queue,
    j.kind,
    j.payload,
    j.metadata,
    j.priority,
    j.run_at,
    j.attempt,
    j.max_retries,
    j.created_at,
    j.deadline_at,
    now(),
    1::bigint
