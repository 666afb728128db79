-- Tells which migrations the schema of this connection has, and whether the jobs are in the same schema.
SELECT
    m.version,
    (
        SELECT count(DISTINCT c.relnamespace) = 1 AND count(*) = 2
        FROM pg_class AS c
        WHERE c.oid IN (to_regclass('pgqueue_migrations'), to_regclass('pgqueue_jobs'))
    )
FROM pgqueue_migrations AS m
ORDER BY m.version
