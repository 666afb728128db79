-- Tells size, dead rows, last vacuum and share of HOT updates of each of our tables.
-- uses no table of ours, only the catalogue
SELECT coalesce(jsonb_agg(to_jsonb(t) ORDER BY t.table_bytes + t.index_bytes DESC), '[]')
FROM (
    SELECT
        c.relname::text AS name,
        s.n_live_tup AS live,
        s.n_dead_tup AS dead,
        s.n_tup_upd AS updates,
        s.n_tup_hot_upd AS hot_updates,
        greatest(s.last_vacuum, s.last_autovacuum) AS vacuumed_at,
        greatest(s.last_analyze, s.last_autoanalyze) AS analysed_at,
        pg_table_size(c.oid) AS table_bytes,
        pg_indexes_size(c.oid) AS index_bytes,
        age(c.relfrozenxid)::bigint AS frozen_age,
        coalesce('autovacuum_enabled=false' = ANY (c.reloptions) OR 'autovacuum_enabled=off' = ANY (c.reloptions), false) AS autovacuum_off
    FROM pg_class AS c
    JOIN pg_stat_user_tables AS s ON s.relid = c.oid
    WHERE c.relkind = 'r'
      AND c.relname LIKE 'pgqueue\_%'
      AND c.relnamespace = (SELECT m.relnamespace FROM pg_class AS m WHERE m.oid = to_regclass('pgqueue_migrations'))
) AS t
