-- Counts jobs a queue and state, each state's walk stopping after a limit, with the age of the oldest due job.
-- $1 most rows a walk visits bigint
-- uses indexes pgqueue_jobs_dequeue, _running, _completed and _dead; never the table by itself
WITH RECURSIVE waiting(queue) AS (
    SELECT (SELECT j.queue FROM pgqueue_jobs AS j WHERE j.state = 'pending' ORDER BY j.queue LIMIT 1)
    UNION ALL
    SELECT (SELECT j.queue FROM pgqueue_jobs AS j WHERE j.state = 'pending' AND j.queue > waiting.queue ORDER BY j.queue LIMIT 1)
    FROM waiting
    WHERE waiting.queue IS NOT NULL
), running AS MATERIALIZED (
    SELECT j.queue FROM pgqueue_jobs AS j WHERE j.state = 'running' ORDER BY j.claimed_by LIMIT $1::bigint + 1
), completed AS MATERIALIZED (
    SELECT j.queue FROM pgqueue_jobs AS j WHERE j.state = 'completed' ORDER BY j.finished_at DESC LIMIT $1::bigint + 1
), cancelled AS MATERIALIZED (
    SELECT j.queue FROM pgqueue_jobs AS j WHERE j.state = 'cancelled' ORDER BY j.finished_at DESC, j.id DESC LIMIT $1::bigint + 1
), dead AS MATERIALIZED (
    SELECT j.queue FROM pgqueue_jobs AS j WHERE j.state = 'dead' ORDER BY j.finished_at DESC, j.id DESC LIMIT $1::bigint + 1
), queues AS (
    SELECT w.queue FROM waiting AS w WHERE w.queue IS NOT NULL
    UNION
    SELECT r.queue FROM running AS r
    UNION
    SELECT c.queue FROM completed AS c
    UNION
    SELECT c.queue FROM cancelled AS c
    UNION
    SELECT d.queue FROM dead AS d
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
    (SELECT count(*) FROM running AS r WHERE r.queue = q.queue),
    (SELECT count(*) FROM completed AS c WHERE c.queue = q.queue),
    (SELECT count(*) FROM cancelled AS c WHERE c.queue = q.queue),
    (SELECT count(*) FROM dead AS d WHERE d.queue = q.queue),
    (SELECT count(*) <= $1::bigint FROM running),
    (SELECT count(*) <= $1::bigint FROM completed),
    (SELECT count(*) <= $1::bigint FROM cancelled),
    (SELECT count(*) <= $1::bigint FROM dead),
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
