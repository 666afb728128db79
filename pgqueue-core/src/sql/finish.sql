-- Ends runs, each only if it is still the current one; what does not come back is not this worker's any more.
-- $1 ids, ascending bigint[]
-- $2 fencing tokens bigint[]
-- $3 next states text[]
-- $4 delays of those that become pending; null: run_at stays interval[]
-- $5 attempts given back integer[]
-- $6 errors; null: none jsonb[]
-- $7 outputs; null: none jsonb[]
-- uses the primary key. Neither state nor claimed_by = worker may stand in the condition: either lets a stale plan
-- choose the index of running jobs and read all of them for each row. Nor may claimed_by IS NOT NULL: analysed while nothing
-- ran, the table seems to have no such row, and a plan may read all of it and compare each with every end.
WITH ended AS MATERIALIZED (
    SELECT e.id, e.token, e.state, e.delay, e.refund, e.error, e.output
    FROM unnest($1::bigint[], $2::bigint[], $3::text[], $4::interval[], $5::integer[], $6::jsonb[], $7::jsonb[])
        AS e(id, token, state, delay, refund, error, output)
)
UPDATE pgqueue_jobs AS j
SET state = CASE WHEN e.state = 'pending' AND j.cancel_requested_at IS NOT NULL THEN 'cancelled' ELSE e.state END,
    finished_at = CASE WHEN e.state = 'pending' AND j.cancel_requested_at IS NULL THEN NULL ELSE now() END,
    run_at = CASE WHEN e.state = 'pending' AND e.delay IS NOT NULL THEN now() + e.delay ELSE j.run_at END,
    attempt = j.attempt - e.refund,
    claimed_by = NULL,
    claim_batch = NULL,
    deadline_at = NULL,
    errors = CASE
        WHEN e.error IS NULL THEN j.errors
        WHEN jsonb_array_length(j.errors) >= 10 THEN (j.errors - 0) || (e.error || jsonb_build_object('at', now()))
        ELSE j.errors || (e.error || jsonb_build_object('at', now()))
    END,
    output = coalesce(e.output, j.output)
FROM ended AS e
WHERE j.id = e.id
  AND j.fencing_token = e.token
  AND coalesce(j.claimed_by, 0) <> 0
RETURNING j.id, j.fencing_token, j.state, now()
