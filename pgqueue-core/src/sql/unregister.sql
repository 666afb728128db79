-- Removes a worker that has released all its jobs.
-- $1 worker bigint
-- uses the primary key
DELETE FROM pgqueue_workers
WHERE id = $1::bigint
RETURNING id
