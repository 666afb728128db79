-- Lists the jobs that have been due for the longest, of all queues.
-- $1 most jobs bigint
-- uses index pgqueue_jobs_dequeue, a few rows of each queue and priority
WITH RECURSIVE waiting(queue) AS (
    SELECT (SELECT j.queue FROM pgqueue_jobs AS j WHERE j.state = 'pending' ORDER BY j.queue LIMIT 1)
    UNION ALL
    SELECT (SELECT j.queue FROM pgqueue_jobs AS j WHERE j.state = 'pending' AND j.queue > waiting.queue ORDER BY j.queue LIMIT 1)
    FROM waiting
    WHERE waiting.queue IS NOT NULL
), oldest AS MATERIALIZED (
    SELECT first.id, first.run_at
    FROM waiting AS w
    CROSS JOIN generate_series(0, 9) AS p(priority)
    CROSS JOIN LATERAL (
        SELECT j.id, j.run_at
        FROM pgqueue_jobs AS j
        WHERE j.queue = w.queue AND j.state = 'pending' AND j.priority = p.priority AND j.run_at <= now()
        ORDER BY j.run_at, j.id
        LIMIT $1::bigint
    ) AS first
    ORDER BY first.run_at, first.id
    LIMIT $1::bigint
)
SELECT
    o.id,
    job.queue,
    job.kind,
    job.priority,
    job.attempt,
    o.run_at,
    EXISTS (SELECT FROM pgqueue_queues AS q WHERE q.name = job.queue AND q.paused_at IS NOT NULL)
FROM oldest AS o
CROSS JOIN LATERAL (SELECT j.queue, j.kind, j.priority, j.attempt FROM pgqueue_jobs AS j WHERE j.id = o.id LIMIT 1) AS job
ORDER BY o.run_at, o.id
