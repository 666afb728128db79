-- Ends successful runs by deleting their jobs, where completed jobs are not kept.
-- $1 ids, ascending bigint[]
-- $2 fencing tokens bigint[]
-- uses the primary key
WITH ended AS MATERIALIZED (
    SELECT e.id, e.token
    FROM unnest($1::bigint[], $2::bigint[]) AS e(id, token)
)
DELETE FROM pgqueue_jobs AS j
USING ended AS e
WHERE j.id = e.id
  AND j.fencing_token = e.token
  AND j.claimed_by IS NOT NULL
RETURNING j.id, 'completed'::text, now()
