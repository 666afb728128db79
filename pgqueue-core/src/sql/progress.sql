-- Stores what a run reports of itself, only if the run is still the current one.
-- $1 id bigint
-- $2 fencing token bigint
-- $3 progress jsonb
-- uses the primary key
UPDATE pgqueue_jobs AS j
SET progress = $3::jsonb
WHERE j.id = $1::bigint
  AND j.fencing_token = $2::bigint
  AND j.claimed_by IS NOT NULL
RETURNING j.id
