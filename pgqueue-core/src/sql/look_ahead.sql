-- Tells what claims do not: in how many seconds the next scheduled job of the given queues is due (null: none is scheduled);
-- whether a due job of theirs has lost a process, but not whether its queue is paused; and whether a wake mark of theirs is not
-- set.
-- $1 queues text[]
-- $2 kinds that the worker handles text[]
-- uses index pgqueue_jobs_dequeue, one probe a queue and priority; index pgqueue_jobs_suspect; and the primary key of the marks
SELECT
    (
        SELECT extract(epoch FROM min(next.run_at) - now())::double precision
        FROM unnest($1::text[]) AS lane(queue)
        CROSS JOIN generate_series(0, 9) AS p(priority)
        CROSS JOIN LATERAL (
            SELECT j.run_at
            FROM pgqueue_jobs AS j
            WHERE j.queue = lane.queue
              AND j.state = 'pending'
              AND j.priority = p.priority
              AND j.run_at > now()
            ORDER BY j.run_at, j.id
            LIMIT 1
        ) AS next
    ),
    EXISTS (
        SELECT
        FROM unnest($1::text[]) AS lane(queue)
        CROSS JOIN LATERAL (
            SELECT
            FROM pgqueue_jobs AS j
            WHERE j.queue = lane.queue
              AND j.state = 'pending'
              AND j.lost > 0
              AND j.run_at <= now()
              AND j.kind = ANY ($2::text[])
            ORDER BY j.run_at, j.id
            LIMIT 1
        ) AS due
    ),
    EXISTS (
        SELECT
        FROM unnest($1::text[]) AS lane(queue)
        WHERE coalesce((SELECT NOT w.wanted FROM pgqueue_wake AS w WHERE w.queue = lane.queue), true)
    )
