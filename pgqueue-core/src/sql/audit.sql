-- A page of the audit, newest first, and how far back was looked for it: one row.
-- $1 only entries before this one bigint
-- $2 actor text
-- $3 action text
-- $4 job bigint
-- $5 most entries that are looked at bigint
-- $6 most entries that are answered bigint
-- uses the primary key of pgqueue_audit, or its index pgqueue_audit_job
WITH looked AS MATERIALIZED (
    (
        SELECT a.* FROM pgqueue_audit AS a
        WHERE $4::bigint IS NULL AND a.id < coalesce($1::bigint, 9223372036854775807)
        ORDER BY a.id DESC
        LIMIT $5::bigint
    )
    UNION ALL
    (
        SELECT a.* FROM pgqueue_audit AS a
        WHERE a.job_id = $4::bigint AND a.id < coalesce($1::bigint, 9223372036854775807)
        ORDER BY a.id DESC
        LIMIT $5::bigint
    )
), matching AS MATERIALIZED (
    SELECT l.* FROM looked AS l
    WHERE ($2::text IS NULL OR l.actor = $2::text) AND ($3::text IS NULL OR l.action = $3::text)
    ORDER BY l.id DESC
    LIMIT $6::bigint
)
SELECT
    (SELECT count(*) FROM looked),
    (SELECT min(l.id) FROM looked AS l),
    coalesce((SELECT jsonb_agg(to_jsonb(m) ORDER BY m.id DESC) FROM matching AS m), '[]')
