-- Puts purged jobs back from the trash as they were, and answers how many it took from there and how many it put back.
-- $1 operation bigint
-- $2 most jobs bigint
-- uses the primary key of pgqueue_trash
WITH chosen AS MATERIALIZED (
    SELECT t.id, t.job
    FROM pgqueue_trash AS t
    WHERE t.operation = $1::bigint
    ORDER BY t.id
    LIMIT $2::bigint
    FOR UPDATE
), restored AS (
    INSERT INTO pgqueue_jobs (
        id,
        run_at,
        created_at,
        fencing_token,
        claimed_by,
        claim_batch,
        started_at,
        finished_at,
        deadline_at,
        cancel_requested_at,
        attempt,
        max_retries,
        lost,
        priority,
        state,
        queue,
        kind,
        payload,
        unique_key,
        timeout,
        errors,
        metadata,
        progress,
        output,
        cause
    )
    SELECT
        r.id,
        r.run_at,
        r.created_at,
        r.fencing_token,
        r.claimed_by,
        r.claim_batch,
        r.started_at,
        r.finished_at,
        r.deadline_at,
        r.cancel_requested_at,
        r.attempt,
        r.max_retries,
        r.lost,
        r.priority,
        r.state,
        r.queue,
        r.kind,
        r.payload,
        r.unique_key,
        r.timeout,
        r.errors,
        r.metadata,
        r.progress,
        r.output,
        r.cause
    FROM chosen AS c
    CROSS JOIN LATERAL jsonb_populate_record(NULL::pgqueue_jobs, c.job) AS r
    ON CONFLICT DO NOTHING
    RETURNING id
), gone AS (
    DELETE FROM pgqueue_trash AS t
    WHERE t.operation = $1::bigint
      AND t.id = ANY (ARRAY(SELECT chosen.id FROM chosen))
    RETURNING t.id
)
SELECT (SELECT count(*) FROM gone), (SELECT count(*) FROM restored)
