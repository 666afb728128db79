-- Tells in which states the first jobs of an operation are by now, each with some of their ids; without a state: gone.
-- $1 operation bigint, $2 most jobs bigint
-- uses the primary keys of pgqueue_trash and pgqueue_jobs
WITH chosen AS MATERIALIZED (
    SELECT t.id
    FROM pgqueue_trash AS t
    WHERE t.operation = $1::bigint
    ORDER BY t.id
    LIMIT $2::bigint
)
SELECT
    now.state,
    count(*),
    (array_agg(c.id ORDER BY c.id))[1:100]
FROM chosen AS c
LEFT JOIN LATERAL (
    SELECT j.state
    FROM pgqueue_jobs AS j
    WHERE j.id = c.id
    LIMIT 1
) AS now ON true
GROUP BY now.state
ORDER BY now.state
