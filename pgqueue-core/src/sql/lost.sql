-- Tells what there is to rescue: whether a worker's lease has run out; the owners of running jobs that are not registered, by
-- skipping from owner to owner through the index; and whether a running job is a whole lease past its deadline.
-- $1 lease interval
-- uses index pgqueue_jobs_running and the primary key of pgqueue_workers
WITH RECURSIVE owner(id) AS (
    SELECT (SELECT j.claimed_by FROM pgqueue_jobs AS j WHERE j.state = 'running' ORDER BY j.claimed_by LIMIT 1)
    UNION ALL
    SELECT (
        SELECT j.claimed_by
        FROM pgqueue_jobs AS j
        WHERE j.state = 'running' AND j.claimed_by > owner.id
        ORDER BY j.claimed_by
        LIMIT 1
    )
    FROM owner
    WHERE owner.id IS NOT NULL
)
SELECT
    EXISTS (SELECT FROM pgqueue_workers AS w WHERE w.expires_at < clock_timestamp()),
    ARRAY(
        SELECT owner.id
        FROM owner
        WHERE owner.id IS NOT NULL
          AND NOT EXISTS (SELECT FROM pgqueue_workers AS w WHERE w.id = owner.id)
    ),
    EXISTS (
        SELECT
        FROM pgqueue_jobs AS j
        WHERE j.state = 'running'
          AND j.claimed_by IS NOT NULL
          AND j.deadline_at < now() - $1::interval
    )
