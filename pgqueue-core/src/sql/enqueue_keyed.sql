-- Enqueues many jobs that have unique keys, in the order of the arrays; answers each with its position, id and whether it was inserted.
-- The arrays are sorted by queue and unique key over the whole call: two calls that share keys then wait, and never deadlock.
-- What all jobs share comes once, without its array, as in enqueue_keyless.
-- $1 queues; null: all have $10 text[]
-- $2 kinds; null: all have $11 text[]
-- $3 payloads jsonb[]
-- $4 priorities; null: all have $12 smallint[]
-- $5 run_at; null: all have $13; null: now plus the delay timestamptz[]
-- $6 delays; null: all have $14; null: the start of the transaction interval[]
-- $7 max_retries; null: all have $15 integer[]
-- $8 timeouts; null: all have $16; null: the worker's default interval[]
-- $9 metadata; null: all have $17; null: none jsonb[]
-- $18 unique keys text[]
-- uses index pgqueue_jobs_unique
WITH wanted AS MATERIALIZED (
    SELECT
        u.id,
        coalesce(u.queue, $10::text) AS queue,
        coalesce(u.kind, $11::text) AS kind,
        u.payload,
        coalesce(u.priority, $12::smallint) AS priority,
        coalesce(u.run_at, $13::timestamptz, statement_timestamp() + coalesce(u.delay, $14::interval), now()) AS run_at,
        coalesce(u.max_retries, $15::integer) AS max_retries,
        u.unique_key,
        coalesce(u.timeout, $16::interval) AS timeout,
        coalesce(u.metadata, $17::jsonb) AS metadata,
        u.position
    FROM ROWS FROM (
        pgqueue_next_ids(cardinality($18::text[])),
        unnest(
            $1::text[], $2::text[], $3::jsonb[], $4::smallint[], $5::timestamptz[], $6::interval[], $7::integer[], $8::interval[], $9::jsonb[], $18::text[]
        )
    ) WITH ORDINALITY AS u(id, queue, kind, payload, priority, run_at, delay, max_retries, timeout, metadata, unique_key, position)
), inserted AS (
    INSERT INTO pgqueue_jobs (id, queue, kind, payload, priority, run_at, max_retries, unique_key, timeout, metadata)
    SELECT w.id, w.queue, w.kind, w.payload, w.priority, w.run_at, w.max_retries, w.unique_key, w.timeout, w.metadata
    FROM wanted AS w
    ON CONFLICT (queue, unique_key) WHERE unique_key IS NOT NULL AND state IN ('pending', 'running') DO NOTHING
    RETURNING id
), missing AS MATERIALIZED (
    SELECT w.*
    FROM wanted AS w
    WHERE NOT EXISTS (SELECT FROM inserted AS i WHERE i.id = w.id)
)
SELECT w.position, w.id, true
FROM wanted AS w
WHERE EXISTS (SELECT FROM inserted AS i WHERE i.id = w.id)
UNION ALL
SELECT m.position, again.id, again.inserted
FROM missing AS m
CROSS JOIN LATERAL pgqueue_enqueue_again(
    m.queue, m.kind, m.payload, m.priority, m.run_at, m.max_retries, m.unique_key, m.timeout, m.metadata
) AS again
