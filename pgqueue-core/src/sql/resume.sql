-- Resumes a paused queue and wakes a worker for it.
-- $1 queue text
-- $2 actor; null: the session's user text
-- $3 reason; null: none text
WITH changed AS (
    UPDATE pgqueue_queues AS q
    SET paused_at = NULL
    WHERE q.name = $1::text
      AND q.paused_at IS NOT NULL
    RETURNING q.name
), audit AS (
    INSERT INTO pgqueue_audit (jobs, actor, action, queue, reason, details)
    SELECT 0, coalesce($2::text, session_user), 'resume', changed.name, $3::text, '{}'
    FROM changed
)
SELECT changed.name
FROM changed
CROSS JOIN LATERAL pgqueue_wake_queue(changed.name, now())
