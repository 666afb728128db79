-- The JSON of some jobs as its exact text.
-- $1 ids bigint[]
-- uses the primary key
SELECT
    j.id,
    j.payload::text,
    j.metadata::text,
    j.output::text
FROM pgqueue_jobs AS j
WHERE j.id = ANY ($1::bigint[])
ORDER BY j.id
