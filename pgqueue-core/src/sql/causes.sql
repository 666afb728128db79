-- Tells of each cause of death how many jobs it has, since when, and one of them, by skipping from cause to cause.
-- $1 most causes bigint
-- $2 where counts stop bigint
-- $3 the first cause, or null for all of them bigint
-- uses index pgqueue_jobs_cause; where one cause is walked in order, BETWEEN and not =: the cause would leave the order, and
-- pgqueue_jobs_dead serve it, by which a rare cause is looked for among all the dead. Where many are walked, the limit is a
-- SELECT, which the planner does not look into: one that it thinks higher than the jobs of a cause would have it sort them all
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
    walked.jobs,
    walked.last_hour,
    walked.last_day,
    -- Of the last 24 hours, numbered from 1 on, those in which any died, each with how many. A walk that stopped within the
    -- day has not come to all of them: then each is counted by itself, until there is no more to tell.
    CASE WHEN walked.stopped_within_day THEN ARRAY(SELECT generate_series(1, 24)) ELSE walked.hours END,
    CASE
        WHEN walked.stopped_within_day THEN ARRAY(
            SELECT (
                SELECT count(*)
                FROM (
                    SELECT FROM pgqueue_jobs AS j
                    WHERE j.state = 'dead'
                      AND j.cause = skipped.cause
                      AND j.finished_at >= now() - (25 - hour.number) * interval '1 hour'
                      AND j.finished_at < CASE hour.number WHEN 24 THEN 'infinity' ELSE now() - (24 - hour.number) * interval '1 hour' END
                    LIMIT 1000
                ) AS counted
            )
            FROM generate_series(1, 24) AS hour(number)
            ORDER BY hour.number
        )
        ELSE walked.trend
    END,
    CASE
        WHEN walked.jobs <= $2::bigint THEN walked.first_seen
        ELSE (
            SELECT j.finished_at
            FROM pgqueue_jobs AS j
            WHERE j.state = 'dead' AND j.cause BETWEEN skipped.cause AND skipped.cause
            ORDER BY j.cause, j.finished_at, j.id
            LIMIT 1
        )
    END,
    sample.finished_at,
    newest.kinds,
    newest.queues,
    sample.id,
    coalesce(sample.message, '')
FROM skipped
CROSS JOIN LATERAL (
    -- One walk tells of all counts: the newest first, until the limit.
    SELECT
        sum(hour.jobs)::bigint AS jobs,
        coalesce(sum(hour.jobs) FILTER (WHERE hour.number = 24), 0)::bigint AS last_hour,
        coalesce(sum(hour.jobs) FILTER (WHERE hour.number > 0), 0)::bigint AS last_day,
        array_agg(hour.number) FILTER (WHERE hour.number > 0) AS hours,
        array_agg(hour.jobs) FILTER (WHERE hour.number > 0) AS trend,
        min(hour.first_seen) AS first_seen,
        sum(hour.jobs) > $2::bigint AND min(hour.number) > 0 AS stopped_within_day
    FROM (
        SELECT died.hour AS number, count(*) AS jobs, min(died.finished_at) AS first_seen
        FROM (
            SELECT
                j.finished_at,
                width_bucket(j.finished_at, (
                    SELECT array_agg(now() - (25 - begun.number) * interval '1 hour' ORDER BY begun.number)
                    FROM generate_series(1, 24) AS begun(number)
                )) AS hour
            FROM pgqueue_jobs AS j
            WHERE j.state = 'dead' AND j.cause BETWEEN skipped.cause AND skipped.cause
            ORDER BY j.cause DESC, j.finished_at DESC, j.id DESC
            LIMIT (SELECT $2::bigint + 1)
        ) AS died
        GROUP BY died.hour
    ) AS hour
) AS walked
CROSS JOIN LATERAL (
    SELECT j.id, j.finished_at, j.errors -> -1 ->> 'kind' AS failure, left(j.errors -> -1 ->> 'message', 2000) AS message
    FROM pgqueue_jobs AS j
    WHERE j.state = 'dead' AND j.cause BETWEEN skipped.cause AND skipped.cause
    ORDER BY j.cause DESC, j.finished_at DESC, j.id DESC
    LIMIT 1
) AS sample
CROSS JOIN LATERAL (
    SELECT array_agg(DISTINCT named.kind ORDER BY named.kind) AS kinds, array_agg(DISTINCT named.queue ORDER BY named.queue) AS queues
    FROM (
        -- Grouped first: to sort each of the 200 names costs more than all the rest.
        SELECT n.kind, n.queue
        FROM (
            SELECT j.kind, j.queue
            FROM pgqueue_jobs AS j
            WHERE j.state = 'dead' AND j.cause BETWEEN skipped.cause AND skipped.cause
            ORDER BY j.cause DESC, j.finished_at DESC, j.id DESC
            LIMIT (SELECT 200)
        ) AS n
        GROUP BY n.kind, n.queue
    ) AS named
) AS newest
WHERE skipped.cause IS NOT NULL
ORDER BY sample.finished_at DESC, skipped.cause
