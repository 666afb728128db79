-- Registers a worker under a fresh id and answers it with the schema's NOTIFY channel and the time.
-- $1 name text
-- $2 host text
-- $3 process id integer
-- $4 version text
-- $5 queues with their concurrency jsonb
-- $6 kinds text[]
-- $7 lease interval
INSERT INTO pgqueue_workers (name, host, pid, version, queues, kinds, expires_at)
VALUES ($1::text, $2::text, $3::integer, $4::text, $5::jsonb, $6::text[], clock_timestamp() + $7::interval)
RETURNING id, pgqueue_channel(), started_at
