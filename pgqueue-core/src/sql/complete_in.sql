-- Completes a job inside the handler's own transaction, only if the run is still the current one.
-- $1 id bigint
-- $2 fencing token bigint
-- $3 output; null: none jsonb
-- uses the primary key
UPDATE pgqueue_jobs AS j
SET state = 'completed',
    finished_at = now(),
    claimed_by = NULL,
    claim_batch = NULL,
    deadline_at = NULL,
    output = coalesce($3::jsonb, j.output)
WHERE j.id = $1::bigint
  AND j.fencing_token = $2::bigint
  AND j.claimed_by IS NOT NULL
RETURNING j.id
