-- Makes jobs due that are so by the clock: in a transaction now() stands still, and a drain runs in a test's own.
-- $1 queues text[]
-- $2 kinds text[]
-- uses index pgqueue_jobs_dequeue
UPDATE pgqueue_jobs AS j
SET run_at = now()
WHERE j.state = 'pending'
  AND j.queue = ANY ($1::text[])
  AND j.kind = ANY ($2::text[])
  AND j.run_at > now()
  AND j.run_at <= clock_timestamp()
