-- Puts requeued jobs that nobody has claimed since back to what they were, and answers how many it took from the trash and
-- how many it put back.
-- $1 operation bigint
-- $2 most jobs bigint
-- uses the primary keys of pgqueue_trash and pgqueue_jobs
WITH chosen AS MATERIALIZED (
    SELECT t.id, t.job
    FROM pgqueue_trash AS t
    WHERE t.operation = $1::bigint
    ORDER BY t.id
    LIMIT $2::bigint
    FOR UPDATE
), open AS MATERIALIZED (
    SELECT j.id
    FROM pgqueue_jobs AS j
    WHERE j.id = ANY (ARRAY(SELECT chosen.id FROM chosen))
      AND j.state = 'pending'
    FOR UPDATE SKIP LOCKED
), restored AS (
    UPDATE pgqueue_jobs AS j
    SET state = r.state,
        run_at = r.run_at,
        attempt = r.attempt,
        lost = r.lost,
        started_at = r.started_at,
        finished_at = r.finished_at,
        cancel_requested_at = r.cancel_requested_at,
        progress = r.progress,
        output = r.output
    FROM open AS o
    JOIN chosen AS c ON c.id = o.id
    CROSS JOIN LATERAL jsonb_populate_record(NULL::pgqueue_jobs, c.job) AS r
    WHERE j.id = o.id
      AND j.state = 'pending'
      AND j.fencing_token = r.fencing_token
    RETURNING j.id
), gone AS (
    DELETE FROM pgqueue_trash AS t
    WHERE t.operation = $1::bigint
      AND t.id = ANY (ARRAY(SELECT chosen.id FROM chosen))
    RETURNING t.id
)
SELECT (SELECT count(*) FROM gone), (SELECT count(*) FROM restored)
