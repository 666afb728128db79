-- Counts jobs that have not ended, a queue: the walk over those of each state stops after a limit, and tells the age of the
-- oldest due job, who runs them, and the pause.
-- $1 most rows a walk visits bigint
-- uses indexes pgqueue_jobs_dequeue and _running; never the table by itself
WITH RECURSIVE waiting(queue) AS (
    SELECT (SELECT j.queue FROM pgqueue_jobs AS j WHERE j.state = 'pending' ORDER BY j.queue LIMIT 1)
    UNION ALL
    SELECT (SELECT j.queue FROM pgqueue_jobs AS j WHERE j.state = 'pending' AND j.queue > waiting.queue ORDER BY j.queue LIMIT 1)
    FROM waiting
    WHERE waiting.queue IS NOT NULL
), running AS MATERIALIZED (
    SELECT r.queue, count(*) AS jobs
    FROM (SELECT j.queue FROM pgqueue_jobs AS j WHERE j.state = 'running' ORDER BY j.claimed_by LIMIT $1::bigint + 1) AS r
    GROUP BY r.queue
), queues AS (
    SELECT w.queue FROM waiting AS w WHERE w.queue IS NOT NULL
    UNION
    SELECT r.queue FROM running AS r
    UNION
    SELECT q.name FROM pgqueue_queues AS q WHERE q.paused_at IS NOT NULL
    UNION
    SELECT jsonb_object_keys(w.queues) FROM pgqueue_workers AS w
)
SELECT
    q.queue,
    (SELECT s.paused_at FROM pgqueue_queues AS s WHERE s.name = q.queue),
    (
        SELECT count(*)
        FROM (
            SELECT
            FROM generate_series(0, 9) AS p(priority)
            CROSS JOIN LATERAL (
                -- The order is that of the index: without it the planner may read the table from its start.
                SELECT FROM pgqueue_jobs AS j
                WHERE j.state = 'pending' AND j.queue = q.queue AND j.priority = p.priority AND j.run_at <= now()
                ORDER BY j.run_at, j.id
                LIMIT $1::bigint + 1
            ) AS walk
            LIMIT $1::bigint + 1
        ) AS counted
    ),
    (
        SELECT count(*)
        FROM (
            SELECT
            FROM generate_series(0, 9) AS p(priority)
            CROSS JOIN LATERAL (
                -- The order is that of the index: without it the planner may read the table from its start.
                SELECT FROM pgqueue_jobs AS j
                WHERE j.state = 'pending' AND j.queue = q.queue AND j.priority = p.priority AND j.run_at > now()
                ORDER BY j.run_at, j.id
                LIMIT $1::bigint + 1
            ) AS walk
            LIMIT $1::bigint + 1
        ) AS counted
    ),
    coalesce((SELECT r.jobs FROM running AS r WHERE r.queue = q.queue), 0),
    (SELECT coalesce(sum(r.jobs), 0) <= $1::bigint FROM running AS r),
    (
        SELECT extract(epoch FROM now() - min(oldest.run_at))::double precision
        FROM generate_series(0, 9) AS p(priority)
        CROSS JOIN LATERAL (
            SELECT j.run_at
            FROM pgqueue_jobs AS j
            WHERE j.queue = q.queue AND j.state = 'pending' AND j.priority = p.priority AND j.run_at <= now()
            ORDER BY j.run_at, j.id
            LIMIT 1
        ) AS oldest
    ),
    (SELECT count(*) FROM pgqueue_workers AS w WHERE w.queues ? q.queue AND w.expires_at >= now())
FROM queues AS q
ORDER BY q.queue
