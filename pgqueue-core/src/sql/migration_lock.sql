-- Tries to take the migration lock until the transaction ends; if it is taken, tells which sessions hold it.
-- Without a current schema there is no lock: the migration itself refuses, and says why.
-- The key is that of up.sql, and in pg_locks its halves are classid and objid.
WITH tried AS MATERIALIZED (
    SELECT
        k.key,
        coalesce(pg_try_advisory_xact_lock(k.key), true) AS taken
    FROM (SELECT hashtextextended('pgqueue_migrations:' || current_schema(), 0)) AS k(key)
)
SELECT
    t.taken,
    coalesce(current_schema()::text, ''),
    CASE
        WHEN NOT t.taken THEN (
            SELECT coalesce(string_agg(l.pid::text, ', ' ORDER BY l.pid), '')
            FROM pg_locks AS l
            WHERE l.locktype = 'advisory'
                AND l.granted
                AND l.database = (SELECT d.oid FROM pg_database AS d WHERE d.datname = current_database())
                AND (l.classid::bigint << 32) | l.objid::bigint = t.key
                AND l.objsubid = 1
        )
        ELSE ''
    END
FROM tried AS t
