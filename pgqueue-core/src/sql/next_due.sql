-- Tells in how many seconds the next scheduled job of the given queues is due (null: none is scheduled), and whether a wake
-- mark of theirs is not set.
-- $1 queues text[]
-- uses index pgqueue_jobs_dequeue, one probe a queue and priority; and the primary key of the marks, one probe a queue
SELECT
    extract(epoch FROM min(next.run_at) - now())::double precision,
    (
        SELECT bool_or(coalesce((SELECT NOT w.wanted FROM pgqueue_wake AS w WHERE w.queue = q.queue), true))
        FROM unnest($1::text[]) AS q(queue)
    )
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
