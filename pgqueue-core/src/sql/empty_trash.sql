-- Deletes what has been in the trash for too long, oldest first.
-- $1 retention interval
-- $2 most jobs bigint
-- uses index pgqueue_trash_kept, then the primary key
DELETE FROM pgqueue_trash AS t
WHERE (t.operation, t.id) IN (
    SELECT old.operation, old.id
    FROM pgqueue_trash AS old
    WHERE old.kept_since < now() - $1::interval
    ORDER BY old.kept_since
    LIMIT $2::bigint
    FOR UPDATE SKIP LOCKED
)
RETURNING t.id
