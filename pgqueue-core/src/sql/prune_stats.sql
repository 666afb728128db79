-- Deletes statistics past their retention.
-- $1 retention interval
-- uses the primary key
DELETE FROM pgqueue_stats
WHERE bucket < now() - $1::interval
RETURNING worker_id
