-- Enqueues many jobs without unique keys, in the order of the arrays, and answers their ids in that order.
-- What all jobs share comes once, without its array: unnest then fills up with nulls. Nine arrays would cost a tenth of the rate.
-- No ON CONFLICT and no join back: without a key nothing collides, and the INSERT answers as the function scan gives.
-- $1 queues; null: all have $10 text[]
-- $2 kinds; null: all have $11 text[]
-- $3 payloads jsonb[]
-- $4 priorities; null: all have $12 smallint[]
-- $5 run_at; null: all have $13; null: now plus the delay timestamptz[]
-- $6 delays; null: all have $14; null: the start of the transaction interval[]
-- $7 max_retries; null: all have $15 integer[]
-- $8 timeouts; null: all have $16; null: the worker's default interval[]
-- $9 metadata; null: all have $17; null: none jsonb[]
INSERT INTO pgqueue_jobs (queue, kind, payload, priority, run_at, max_retries, timeout, metadata)
SELECT
    coalesce(u.queue, $10::text),
    coalesce(u.kind, $11::text),
    u.payload,
    coalesce(u.priority, $12::smallint),
    coalesce(u.run_at, $13::timestamptz, statement_timestamp() + coalesce(u.delay, $14::interval), now()),
    coalesce(u.max_retries, $15::integer),
    coalesce(u.timeout, $16::interval),
    coalesce(u.metadata, $17::jsonb)
FROM unnest(
    $1::text[], $2::text[], $3::jsonb[], $4::smallint[], $5::timestamptz[], $6::interval[], $7::integer[], $8::interval[], $9::jsonb[]
) AS u(queue, kind, payload, priority, run_at, delay, max_retries, timeout, metadata)
RETURNING id
