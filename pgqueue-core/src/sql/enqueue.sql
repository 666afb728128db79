-- Enqueues one job; if its unique key is taken, answers with the job that has it.
-- $1 queue text
-- $2 kind text
-- $3 payload jsonb
-- $4 priority smallint
-- $5 run_at; null: now plus the delay timestamptz
-- $6 delay; null: the start of the transaction interval
-- $7 max_retries integer
-- $8 unique_key; null: none text
-- $9 timeout; null: the worker's default interval
-- $10 metadata; null: none jsonb
-- uses index pgqueue_jobs_unique. DO NOTHING, never DO UPDATE: that would lock the other job for the caller's whole transaction.
-- Where nothing was inserted, a volatile function looks again: a job that committed after this statement began is invisible to it.
WITH inserted AS (
    INSERT INTO pgqueue_jobs (queue, kind, payload, priority, run_at, max_retries, unique_key, timeout, metadata)
    VALUES (
        $1::text,
        $2::text,
        $3::jsonb,
        $4::smallint,
        coalesce($5::timestamptz, statement_timestamp() + $6::interval, now()),
        $7::integer,
        $8::text,
        $9::interval,
        $10::jsonb
    )
    ON CONFLICT (queue, unique_key) WHERE unique_key IS NOT NULL AND state IN ('pending', 'running') DO NOTHING
    RETURNING id
)
SELECT inserted.id, true
FROM inserted
UNION ALL
SELECT again.id, again.inserted
FROM pgqueue_enqueue_again(
    $1::text,
    $2::text,
    $3::jsonb,
    $4::smallint,
    coalesce($5::timestamptz, statement_timestamp() + $6::interval, now()),
    $7::integer,
    $8::text,
    $9::interval,
    $10::jsonb
) AS again
WHERE NOT EXISTS (SELECT FROM inserted)
