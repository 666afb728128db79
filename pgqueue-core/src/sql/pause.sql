-- Pauses a queue: nothing of it is claimed until it is resumed; what runs goes on.
-- $1 queue text
-- $2 actor; null: the session's user text
-- $3 reason; null: none text
WITH changed AS (
    INSERT INTO pgqueue_queues AS q (name, paused_at)
    VALUES ($1::text, now())
    ON CONFLICT (name) DO UPDATE
    SET paused_at = now()
    WHERE q.paused_at IS NULL
    RETURNING q.name
), audit AS (
    INSERT INTO pgqueue_audit (jobs, actor, action, queue, reason, details)
    SELECT 0, coalesce($2::text, session_user), 'pause', changed.name, $3::text, '{}'
    FROM changed
)
SELECT changed.name
FROM changed
