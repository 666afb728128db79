-- Lists registered workers, the live ones first, with what each runs now.
-- $1 most workers bigint
-- $2 most running jobs that are counted of each bigint
-- $3 only this worker bigint
-- uses index pgqueue_jobs_running
SELECT
    w.id,
    w.name,
    w.host,
    w.pid,
    w.version,
    w.queues,
    w.kinds,
    w.started_at,
    w.expires_at,
    w.expires_at >= now(),
    now(),
    r.jobs,
    r.oldest
FROM (
    SELECT l.* FROM pgqueue_workers AS l
    WHERE $3::bigint IS NULL OR l.id = $3::bigint
    ORDER BY l.expires_at < now(), l.name, l.id
    LIMIT $1::bigint
) AS w
CROSS JOIN LATERAL (
    SELECT count(*) AS jobs, min(k.started_at) AS oldest
    FROM (
        SELECT j.started_at FROM pgqueue_jobs AS j
        WHERE j.state = 'running' AND j.claimed_by = w.id
        ORDER BY j.claimed_by
        LIMIT $2::bigint + 1
    ) AS k
) AS r
ORDER BY w.expires_at < now(), w.name, w.id
