-- Renews a worker's lease; no row comes back when the others took it for dead.
-- $1 worker bigint
-- $2 lease interval
-- uses the primary key
UPDATE pgqueue_workers
SET expires_at = clock_timestamp() + $2::interval
WHERE id = $1::bigint
RETURNING id
