-- Completes a job inside the handler's own transaction by deleting it, where completed jobs are not kept.
-- $1 id bigint
-- $2 fencing token bigint
-- uses the primary key
DELETE FROM pgqueue_jobs AS j
WHERE j.id = $1::bigint
  AND j.fencing_token = $2::bigint
  AND j.claimed_by IS NOT NULL
RETURNING j.id
