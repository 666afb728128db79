-- Drops the queue of the current schema with all its jobs, and what is left of it if parts are gone.
-- Every name carries its schema: a search_path that goes on to another queue must not lose that one.
DO $migration$
DECLARE
    schema_name CONSTANT text := current_schema();
    applied boolean;
    remaining boolean;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('pgqueue_migrations:' || schema_name, 0));
    IF to_regclass(format('%I.pgqueue_migrations', schema_name)) IS NULL THEN
        RETURN;
    END IF;
    EXECUTE format($sql$DELETE FROM %I.pgqueue_migrations WHERE version = '20261122000001' RETURNING true$sql$, schema_name) INTO applied;
    IF applied IS NULL THEN
        RETURN;
    END IF;
    EXECUTE format($ddl$
        DROP TABLE IF EXISTS
            %1$I.pgqueue_jobs,
            %1$I.pgqueue_workers,
            %1$I.pgqueue_queues,
            %1$I.pgqueue_wake,
            %1$I.pgqueue_stats,
            %1$I.pgqueue_audit;
        DROP FUNCTION IF EXISTS %1$I.pgqueue_jobs_wake();
        DROP FUNCTION IF EXISTS %1$I.pgqueue_wake_queue(text, timestamptz);
        DROP FUNCTION IF EXISTS %1$I.pgqueue_next_ids(integer);
        DROP FUNCTION IF EXISTS %1$I.pgqueue_enqueue_again(text, text, jsonb, smallint, timestamptz, integer, text, interval, jsonb);
        DROP FUNCTION IF EXISTS %1$I.pgqueue_requeue(bigint[]);
        DROP FUNCTION IF EXISTS %1$I.pgqueue_channel();
    $ddl$, schema_name);
    EXECUTE format('SELECT EXISTS (SELECT FROM %I.pgqueue_migrations)', schema_name) INTO remaining;
    IF NOT remaining THEN
        EXECUTE format('DROP TABLE %I.pgqueue_migrations', schema_name);
    END IF;
END
$migration$;
