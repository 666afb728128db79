-- What a job waits for, or rests on.
-- $1 id bigint
-- uses the primary keys, indexes pgqueue_jobs_dequeue (at most 1,001 rows a priority), pgqueue_jobs_suspect and pgqueue_jobs_unique
SELECT
    j.state,
    j.run_at,
    j.run_at <= now(),
    j.attempt,
    j.started_at,
    j.lost,
    j.cancel_requested_at,
    j.claimed_by,
    (SELECT w.name FROM pgqueue_workers AS w WHERE w.id = j.claimed_by),
    (SELECT q.paused_at FROM pgqueue_queues AS q WHERE q.name = j.queue),
    (SELECT count(*) FROM pgqueue_workers AS w WHERE w.expires_at > now() AND jsonb_exists(w.queues, j.queue)),
    (
        SELECT count(*)
        FROM pgqueue_workers AS w
        WHERE w.expires_at > now() AND jsonb_exists(w.queues, j.queue) AND j.kind = ANY (w.kinds)
    ),
    CASE WHEN j.state <> 'pending' THEN 0 WHEN j.lost > 0 THEN (
        SELECT count(*)
        FROM (
            SELECT
            FROM pgqueue_jobs AS a
            WHERE a.queue = j.queue AND a.state = 'pending' AND a.lost > 0 AND a.run_at <= now() AND (a.run_at, a.id) < (j.run_at, j.id)
            ORDER BY a.run_at, a.id
            LIMIT 1001
        ) AS ahead
    ) ELSE (
        SELECT count(*)
        FROM (
            SELECT
            FROM generate_series(0, j.priority) AS p(priority)
            CROSS JOIN LATERAL (
                SELECT
                FROM pgqueue_jobs AS a
                WHERE a.queue = j.queue
                    AND a.state = 'pending'
                    AND a.priority = p.priority
                    AND a.run_at <= now()
                    AND (p.priority < j.priority OR (a.run_at, a.id) < (j.run_at, j.id))
                ORDER BY a.run_at, a.id
                LIMIT 1001
            ) AS line
            LIMIT 1001
        ) AS ahead
    ) END,
    CASE WHEN j.finished_at IS NOT NULL THEN (
        SELECT u.id
        FROM pgqueue_jobs AS u
        WHERE u.queue = j.queue AND u.unique_key = j.unique_key AND u.unique_key IS NOT NULL AND u.state IN ('pending', 'running')
    ) END,
    left(coalesce(j.errors -> -1 ->> 'message', (j.errors -> -1)::text), 500)
FROM pgqueue_jobs AS j
WHERE j.id = $1::bigint
