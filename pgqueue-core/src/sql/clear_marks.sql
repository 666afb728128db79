-- Clears the wake marks of queues, so that inserts stop taking NOTIFY's commit lock.
-- $1 queues text[]
-- uses the primary key; a mark that somebody else is changing is left alone
UPDATE pgqueue_wake AS w
SET wanted = false
WHERE w.queue = ANY (ARRAY(
    SELECT m.queue
    FROM unnest($1::text[]) AS q(queue)
    CROSS JOIN LATERAL (
        SELECT k.queue FROM pgqueue_wake AS k WHERE k.queue = q.queue AND k.wanted LIMIT 1 FOR UPDATE SKIP LOCKED
    ) AS m
))
RETURNING w.queue
