-- Drops causes of death, durable operations and the trash of the current schema, and what is left of them if parts are gone:
-- what is in the trash is lost for good.
-- Every name carries its schema: a search_path that goes on to another queue must not lose that one's.
DO $migration$
DECLARE
    schema_name CONSTANT text := current_schema();
    applied boolean;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('pgqueue_migrations:' || schema_name, 0));
    IF to_regclass(format('%I.pgqueue_migrations', schema_name)) IS NULL THEN
        RETURN;
    END IF;
    EXECUTE format($sql$DELETE FROM %I.pgqueue_migrations WHERE version = '20261124000001' RETURNING true$sql$, schema_name) INTO applied;
    IF applied IS NULL THEN
        RETURN;
    END IF;
    EXECUTE format($ddl$
        DROP TABLE IF EXISTS %1$I.pgqueue_bulk_operations, %1$I.pgqueue_trash;
        DROP TRIGGER IF EXISTS pgqueue_jobs_died_on_insert ON %1$I.pgqueue_jobs;
        DROP TRIGGER IF EXISTS pgqueue_jobs_died_on_update ON %1$I.pgqueue_jobs;
        DROP FUNCTION IF EXISTS %1$I.pgqueue_jobs_died();
        DROP FUNCTION IF EXISTS %1$I.pgqueue_cause(jsonb);
        DROP FUNCTION IF EXISTS %1$I.pgqueue_error_pattern(text);
        DROP INDEX IF EXISTS %1$I.pgqueue_jobs_cause;
        ALTER TABLE IF EXISTS %1$I.pgqueue_jobs DROP COLUMN IF EXISTS cause;
    $ddl$, schema_name);
END
$migration$;
