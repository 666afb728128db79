-- Ends successful runs by deleting their jobs, where completed jobs are not kept.
-- $1 ids, ascending bigint[]
-- $2 fencing tokens bigint[]
-- uses the primary key; coalesce, not IS NOT NULL, for the reason given in finish.sql
WITH ended AS MATERIALIZED (
    SELECT e.id, e.token
    FROM unnest($1::bigint[], $2::bigint[]) AS e(id, token)
)
DELETE FROM pgqueue_jobs AS j
USING ended AS e
WHERE j.id = e.id
  AND j.fencing_token = e.token
  AND coalesce(j.claimed_by, 0) <> 0
RETURNING j.id, j.fencing_token, 'completed'::text, now()
