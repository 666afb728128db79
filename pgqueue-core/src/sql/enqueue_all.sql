-- Enqueues many jobs in the order of the arrays; answers each with its position, id and whether it was inserted.
-- The arrays are sorted by queue and unique key over the whole call: two calls that share keys then wait, and never deadlock.
-- $1 queues text[]
-- $2 kinds text[]
-- $3 payloads jsonb[]
-- $4 priorities smallint[]
-- $5 run_at; null: now plus the delay timestamptz[]
-- $6 delays; null: the start of the transaction interval[]
-- $7 max_retries integer[]
-- $8 unique keys; null: none text[]
-- $9 timeouts; null: the worker's default interval[]
-- $10 metadata; null: none jsonb[]
-- uses index pgqueue_jobs_unique
WITH wanted AS MATERIALIZED (
    SELECT
        u.id,
        u.queue,
        u.kind,
        u.payload,
        u.priority,
        coalesce(u.run_at, statement_timestamp() + u.delay, now()) AS run_at,
        u.max_retries,
        u.unique_key,
        u.timeout,
        u.metadata,
        u.position
    FROM ROWS FROM (
        pgqueue_next_ids(cardinality($1::text[])),
        unnest(
            $1::text[], $2::text[], $3::jsonb[], $4::smallint[], $5::timestamptz[], $6::interval[], $7::integer[], $8::text[], $9::interval[], $10::jsonb[]
        )
    ) WITH ORDINALITY AS u(id, queue, kind, payload, priority, run_at, delay, max_retries, unique_key, timeout, metadata, position)
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
