-- Renews a worker's lease; no row comes back when the others took it for dead, or a failover has lost its registration:
-- then its id may be another's by now, who has started at another time.
-- $1 worker bigint
-- $2 lease interval
-- $3 when it was registered timestamptz
-- uses the primary key
UPDATE pgqueue_workers
SET expires_at = clock_timestamp() + $2::interval
WHERE id = $1::bigint
  AND started_at = $3::timestamptz
RETURNING id
