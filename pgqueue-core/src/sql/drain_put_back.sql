-- Gives jobs that ran in a drain and are pending again the due times that they should have.
-- $1 ids bigint[]
-- $2 how much later they are due while the drain lasts interval
-- uses the primary key
UPDATE pgqueue_jobs AS j
SET run_at = j.run_at - $2::interval
WHERE j.id = ANY ($1::bigint[])
