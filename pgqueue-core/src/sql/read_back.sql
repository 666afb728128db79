-- Reads back jobs whose finish did not answer: ended by this run earlier, or not this run's any more.
-- $1 ids bigint[]
-- uses the primary key
SELECT j.id, j.fencing_token, j.state, now()
FROM unnest($1::bigint[]) AS w(id)
CROSS JOIN LATERAL (
    SELECT jobs.id, jobs.fencing_token, jobs.state FROM pgqueue_jobs AS jobs WHERE jobs.id = w.id LIMIT 1
) AS j
