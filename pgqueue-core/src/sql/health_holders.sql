-- Lists what keeps vacuum from removing dead rows: open transactions, replication slots, prepared transactions; oldest first.
-- uses no table; a query is told by its first words only, which hold no values
SELECT coalesce(jsonb_agg(to_jsonb(h) ORDER BY h.xid_age DESC, h.seconds DESC), '[]')
FROM (
    SELECT u.* FROM (
        SELECT
            'transaction' AS sort,
            a.pid::bigint AS pid,
            a.pid::text AS name,
            a.usename::text AS owner,
            a.application_name AS application,
            a.state,
            extract(epoch FROM clock_timestamp() - a.xact_start)::double precision AS seconds,
            coalesce(greatest(age(a.backend_xmin), age(a.backend_xid)), 0)::bigint AS xid_age,
            substring(a.query FROM '^\s*[A-Za-z]+(?:\s+[A-Za-z]+)?') AS query
        FROM pg_stat_activity AS a
        WHERE a.pid <> pg_backend_pid()
          AND a.datname = current_database()
          AND a.backend_type = 'client backend'
          AND a.xact_start IS NOT NULL
          AND (a.backend_xmin IS NOT NULL OR a.backend_xid IS NOT NULL)
        UNION ALL
        SELECT 'slot', s.active_pid::bigint, s.slot_name::text, NULL, s.plugin::text,
            CASE WHEN s.active THEN 'active' ELSE 'inactive' END, NULL,
            greatest(age(s.xmin), age(s.catalog_xmin))::bigint, NULL
        FROM pg_replication_slots AS s
        WHERE s.xmin IS NOT NULL OR s.catalog_xmin IS NOT NULL
        UNION ALL
        SELECT 'prepared', NULL, p.gid, p.owner::text, NULL, 'prepared',
            extract(epoch FROM clock_timestamp() - p.prepared)::double precision, age(p.transaction)::bigint, NULL
        FROM pg_prepared_xacts AS p
        WHERE p.database = current_database()
    ) AS u
    ORDER BY u.xid_age DESC, u.seconds DESC NULLS LAST
    LIMIT 20
) AS h
