-- Puts requeued jobs that nobody has claimed since back to what they were, and answers how many it took from the trash and
-- how many it put back.
-- $1 operation bigint
-- $2 most jobs bigint
-- uses the primary keys of pgqueue_trash and pgqueue_jobs: pending is told by what goes with it, as a test of the state would let a
-- plan made on an empty table look for the ids in the index of all pending jobs, which PostgreSQL 18 does
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
      AND j.claimed_by IS NULL
      AND j.finished_at IS NULL
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
      AND j.claimed_by IS NULL
      AND j.finished_at IS NULL
      AND j.fencing_token = r.fencing_token
    RETURNING j.id
), gone AS (
    DELETE FROM pgqueue_trash AS t
    WHERE t.operation = $1::bigint
      AND t.id = ANY (ARRAY(SELECT chosen.id FROM chosen))
    RETURNING t.id
)
SELECT (SELECT count(*) FROM gone), (SELECT count(*) FROM restored)
