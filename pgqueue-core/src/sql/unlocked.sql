-- Locks those of the given jobs that nobody else has locked.
-- $1 ids, ascending bigint[]
-- uses the primary key
SELECT j.id
FROM unnest($1::bigint[]) AS w(id)
CROSS JOIN LATERAL (
    SELECT jobs.id FROM pgqueue_jobs AS jobs WHERE jobs.id = w.id LIMIT 1 FOR UPDATE SKIP LOCKED
) AS j
