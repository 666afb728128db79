-- Tells of each cause of death how many jobs it has, since when, and one of them, by skipping from cause to cause.
-- $1 most causes bigint
-- $2 where counts stop bigint
-- $3 the first cause, or null for all of them bigint
-- uses index pgqueue_jobs_cause, then the primary key
WITH RECURSIVE skipped(cause, place) AS (
    SELECT (
        SELECT j.cause
        FROM pgqueue_jobs AS j
        WHERE j.state = 'dead' AND j.cause >= coalesce($3::bigint, '-9223372036854775808')
        ORDER BY j.cause
        LIMIT 1
    ), 1
    UNION ALL
    SELECT (
        SELECT j.cause
        FROM pgqueue_jobs AS j
        WHERE j.state = 'dead' AND j.cause > skipped.cause
        ORDER BY j.cause
        LIMIT 1
    ), skipped.place + 1
    FROM skipped
    WHERE skipped.cause IS NOT NULL AND skipped.place < $1::bigint
)
SELECT
    skipped.cause,
    coalesce(pgqueue_error_pattern(sample.message), ''),
    coalesce(sample.failure, ''),
    (
        SELECT count(*)
        FROM (SELECT FROM pgqueue_jobs AS j WHERE j.state = 'dead' AND j.cause = skipped.cause LIMIT $2::bigint + 1) AS counted
    ),
    (
        SELECT count(*)
        FROM (
            SELECT FROM pgqueue_jobs AS j
            WHERE j.state = 'dead' AND j.cause = skipped.cause AND j.finished_at > now() - interval '1 hour'
            LIMIT $2::bigint + 1
        ) AS counted
    ),
    (
        SELECT count(*)
        FROM (
            SELECT FROM pgqueue_jobs AS j
            WHERE j.state = 'dead' AND j.cause = skipped.cause AND j.finished_at > now() - interval '1 day'
            LIMIT $2::bigint + 1
        ) AS counted
    ),
    ARRAY(
        SELECT (
            SELECT count(*)
            FROM (
                SELECT FROM pgqueue_jobs AS j
                WHERE j.state = 'dead'
                  AND j.cause = skipped.cause
                  AND j.finished_at > now() - (hour.ago + 1) * interval '1 hour'
                  AND j.finished_at <= now() - hour.ago * interval '1 hour'
                LIMIT 1000
            ) AS counted
        )
        FROM generate_series(23, 0, -1) AS hour(ago)
        ORDER BY hour.ago DESC
    ),
    (
        SELECT j.finished_at
        FROM pgqueue_jobs AS j
        WHERE j.state = 'dead' AND j.cause = skipped.cause
        ORDER BY j.cause, j.finished_at, j.id
        LIMIT 1
    ),
    sample.finished_at,
    newest.kinds,
    newest.queues,
    sample.id,
    coalesce(sample.message, '')
FROM skipped
CROSS JOIN LATERAL (
    SELECT j.id, j.finished_at, j.errors -> -1 ->> 'kind' AS failure, left(j.errors -> -1 ->> 'message', 2000) AS message
    FROM pgqueue_jobs AS j
    WHERE j.state = 'dead' AND j.cause = skipped.cause
    ORDER BY j.cause DESC, j.finished_at DESC, j.id DESC
    LIMIT 1
) AS sample
CROSS JOIN LATERAL (
    SELECT array_agg(DISTINCT n.kind ORDER BY n.kind) AS kinds, array_agg(DISTINCT n.queue ORDER BY n.queue) AS queues
    FROM (
        SELECT j.kind, j.queue
        FROM pgqueue_jobs AS j
        WHERE j.state = 'dead' AND j.cause = skipped.cause
        ORDER BY j.cause DESC, j.finished_at DESC, j.id DESC
        LIMIT 200
    ) AS n
) AS newest
WHERE skipped.cause IS NOT NULL
ORDER BY sample.finished_at DESC, skipped.cause
