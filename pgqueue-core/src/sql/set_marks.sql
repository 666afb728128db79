-- Sets the wake marks of queues, so that inserts notify. Writes only where something changes, and wakes the workers then:
-- what was inserted while the mark was clear was announced to nobody.
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
SELECT c.queue, pg_notify(pgqueue_channel(), c.queue)::text
FROM changed AS c
