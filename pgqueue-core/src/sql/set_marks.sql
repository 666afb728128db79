-- Sets the wake marks of queues, so that inserts notify. Where one changes, that wakes the workers: what was inserted while
-- it was clear was announced to nobody.
-- $1 queues text[]
-- $2 horizon: jobs due later are left to polling interval
-- uses the primary key
WITH changed AS (
    INSERT INTO pgqueue_wake AS w (queue, wanted, horizon)
    SELECT q.queue, true, $2::interval
    FROM unnest($1::text[]) AS q(queue)
    ORDER BY q.queue
    ON CONFLICT (queue) DO UPDATE
    SET wanted = true, horizon = greatest(w.horizon, excluded.horizon)
    WHERE NOT w.wanted OR w.horizon < excluded.horizon
    RETURNING w.queue
)
-- A full notification queue would fail the COMMIT, and the worker would claim nothing.
SELECT
    c.queue,
    CASE WHEN pg_notification_queue_usage() < 0.5 THEN pg_notify(pgqueue_channel(), c.queue)::text ELSE '' END
FROM changed AS c
