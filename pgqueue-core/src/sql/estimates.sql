-- Tells about how many jobs each state has, from what VACUUM and ANALYZE last saw; null where they saw nothing yet.
-- uses the catalogue alone
WITH jobs AS (
    SELECT c.oid, c.relname, c.relnamespace FROM pg_class AS c WHERE c.oid = to_regclass('pgqueue_jobs')
), indexes AS (
    SELECT c.relname::text AS name, c.reltuples::double precision AS rows
    FROM pg_index AS i
    JOIN jobs ON i.indrelid = jobs.oid
    JOIN pg_class AS c ON c.oid = i.indexrelid
    WHERE c.reltuples >= 0
), shares AS (
    SELECT common.state, common.share::double precision AS share
    FROM jobs
    JOIN pg_namespace AS n ON n.oid = jobs.relnamespace
    JOIN pg_stats AS s ON s.schemaname = n.nspname AND s.tablename = jobs.relname AND s.attname = 'state'
    CROSS JOIN LATERAL unnest(s.most_common_vals::text::text[], s.most_common_freqs) AS common(state, share)
), dead AS (
    -- One index holds the dead and the cancelled: their share of it is that of the column's statistics.
    SELECT
        coalesce(sum(h.share) FILTER (WHERE h.state = 'dead'), 0) AS dead,
        coalesce(sum(h.share) FILTER (WHERE h.state = 'cancelled'), 0) AS cancelled
    FROM shares AS h
)
SELECT e.state, e.rows
FROM (
    SELECT 'pending', (SELECT i.rows FROM indexes AS i WHERE i.name = 'pgqueue_jobs_dequeue')
    UNION ALL
    SELECT 'running', (SELECT i.rows FROM indexes AS i WHERE i.name = 'pgqueue_jobs_running')
    UNION ALL
    SELECT 'completed', (SELECT i.rows FROM indexes AS i WHERE i.name = 'pgqueue_jobs_completed')
    UNION ALL
    SELECT 'dead', (SELECT i.rows * d.dead / nullif(d.dead + d.cancelled, 0) FROM indexes AS i CROSS JOIN dead AS d WHERE i.name = 'pgqueue_jobs_dead')
    UNION ALL
    SELECT 'cancelled', (SELECT i.rows * d.cancelled / nullif(d.dead + d.cancelled, 0) FROM indexes AS i CROSS JOIN dead AS d WHERE i.name = 'pgqueue_jobs_dead')
) AS e(state, rows)
