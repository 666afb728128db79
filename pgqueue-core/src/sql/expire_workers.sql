-- Deletes the rows of workers whose lease has run out. Committing this is the fence: a beat that races wins, or finds no row.
-- Nothing is deleted unless the judge's own lease holds: after the whole machine has slept, all leases have run out.
-- $1 the worker that judges bigint
DELETE FROM pgqueue_workers
WHERE expires_at < clock_timestamp()
  AND EXISTS (SELECT FROM pgqueue_workers AS judge WHERE judge.id = $1::bigint AND judge.expires_at >= clock_timestamp())
RETURNING id
