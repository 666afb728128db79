-- Lists who waits for a lock on our tables, and whom for.
-- uses no table of ours, only the catalogue and the lock table
SELECT coalesce(jsonb_agg(to_jsonb(l) ORDER BY l.seconds DESC), '[]')
FROM (
    SELECT DISTINCT ON (a.pid)
        a.pid::bigint AS pid,
        a.application_name AS application,
        (k.relation::regclass)::text AS relation,
        w.mode,
        coalesce(extract(epoch FROM clock_timestamp() - coalesce(w.waitstart, a.query_start)), 0)::double precision AS seconds,
        pg_blocking_pids(a.pid)::bigint[] AS blockers
    FROM pg_locks AS w
    JOIN pg_stat_activity AS a ON a.pid = w.pid
    JOIN pg_locks AS k ON k.pid = w.pid AND k.locktype = 'relation' AND k.database = (SELECT d.oid FROM pg_database AS d WHERE d.datname = current_database())
    JOIN pg_class AS c ON c.oid = k.relation AND c.relname LIKE 'pgqueue\_%' AND c.relkind = 'r'
    WHERE NOT w.granted
    ORDER BY a.pid
    LIMIT 50
) AS l
