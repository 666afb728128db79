-- Claims due jobs of several queues for one worker, in the order priority, run_at, id within each queue.
-- $1 queues text[]
-- $2 most jobs of each queue, some of them ahead of its free slots integer[]
-- $3 claim cursor, run_at: ten a queue, by priority timestamptz[]
-- $4 claim cursor, id: ten a queue, by priority bigint[]
-- $5 kinds that the worker handles text[]
-- $6 most jobs in all bigint
-- $7 worker bigint
-- $8 number of this claim bigint
-- $9 longest run of a job that has no timeout of its own interval
-- $10 free slots of each queue integer[]
-- $11 most bytes of payloads that one queue gives ahead of its free slots, as they are stored bigint
-- uses index pgqueue_jobs_dequeue: equality on queue and priority, run_at between the cursor and now
-- The cursor trails now by half a second: run_at is the start of the host's transaction, so rows appear behind now.
-- A job without a retry left is claimed only into a free slot: lost while it waits, it would be dead without having run.
-- Beyond the free slots the first such job, and all behind it, are left, and so is what exceeds the bytes. The last column
-- tells how many were visited, left or not.
-- MATERIALIZED and ARRAY(…) keep the LIMIT: as a plain subquery it may be run once a row and claim more.
WITH picked AS MATERIALIZED (
    SELECT due.id, due.is_left
    FROM (
        SELECT l.queue, l.most, l.free, (l.ordinal - 1) * 10 AS base
        FROM unnest($1::text[], $2::integer[], $10::integer[]) WITH ORDINALITY AS l(queue, most, free, ordinal)
        WHERE NOT EXISTS (SELECT FROM pgqueue_queues AS q WHERE q.name = l.queue AND q.paused_at IS NOT NULL)
          AND EXISTS (SELECT FROM pgqueue_workers AS w WHERE w.id = $7::bigint)
    ) AS lane
    CROSS JOIN LATERAL (
        SELECT
            d.id,
            row_number() OVER in_turn > lane.free
                AND (bool_or(d.is_last_chance) OVER in_turn OR sum(d.bytes) OVER in_turn > $11::bigint) AS is_left
        FROM generate_series(0, 9) AS p(priority)
        CROSS JOIN LATERAL (
            SELECT j.id, j.attempt >= j.max_retries AS is_last_chance, pg_column_size(j.payload) AS bytes
            FROM pgqueue_jobs AS j
            WHERE j.queue = lane.queue
              AND j.state = 'pending'
              AND j.priority = p.priority
              AND j.run_at <= now()
              AND (j.run_at, j.id) > (
                  least(($3::timestamptz[])[lane.base + p.priority + 1], now() - interval '500 milliseconds'),
                  CASE
                      WHEN ($3::timestamptz[])[lane.base + p.priority + 1] <= now() - interval '500 milliseconds'
                      THEN ($4::bigint[])[lane.base + p.priority + 1]
                      ELSE 0
                  END
              )
              AND j.lost = 0
              AND j.kind = ANY ($5::text[])
            ORDER BY j.run_at, j.id
            LIMIT lane.most
            FOR UPDATE SKIP LOCKED
        ) AS d
        WINDOW in_turn AS (ROWS UNBOUNDED PRECEDING)
        LIMIT lane.most
    ) AS due
    LIMIT $6::bigint
)
UPDATE pgqueue_jobs AS j
SET state = 'running',
    attempt = least(j.attempt, 2147483646) + 1,
    fencing_token = j.fencing_token + 1,
    claimed_by = $7::bigint,
    claim_batch = $8::bigint,
    started_at = now(),
    deadline_at = now() + coalesce(j.timeout, $9::interval)
WHERE j.id = ANY (ARRAY(SELECT picked.id FROM picked WHERE NOT picked.is_left))
RETURNING
    j.id,
    j.fencing_token,
    j.queue,
    j.kind,
    j.payload,
    j.metadata,
    j.priority,
    j.run_at,
    j.attempt,
    j.max_retries,
    j.created_at,
    j.deadline_at,
    now(),
    (SELECT count(*) FROM picked)
