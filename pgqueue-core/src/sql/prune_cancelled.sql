-- Deletes cancelled jobs past their retention, oldest first.
-- $1 retention interval
-- $2 most jobs bigint
-- uses index pgqueue_jobs_dead, then the primary key
DELETE FROM pgqueue_jobs AS j
WHERE j.id = ANY (ARRAY(
    SELECT old.id
    FROM pgqueue_jobs AS old
    WHERE old.state = 'cancelled'
      AND old.finished_at < now() - $1::interval
    ORDER BY old.finished_at
    LIMIT $2::bigint
    FOR UPDATE SKIP LOCKED
))
RETURNING j.id
