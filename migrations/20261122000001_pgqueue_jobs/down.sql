-- Drops the queue of the current schema with all its jobs.
DO $migration$
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('pgqueue_migrations:' || current_schema(), 0));
    IF NOT EXISTS (SELECT FROM pgqueue_migrations WHERE version = '20261122000001') THEN
        RETURN;
    END IF;
    DROP TABLE pgqueue_jobs, pgqueue_workers, pgqueue_queues, pgqueue_wake, pgqueue_stats, pgqueue_audit;
    DROP FUNCTION pgqueue_jobs_wake();
    DROP FUNCTION pgqueue_wake_queue(text, timestamptz);
    DROP FUNCTION pgqueue_enqueue_again(text, text, jsonb, smallint, timestamptz, integer, text, interval, jsonb);
    DROP FUNCTION pgqueue_requeue(bigint[]);
    DROP FUNCTION pgqueue_channel();
    DELETE FROM pgqueue_migrations WHERE version = '20261122000001';
    IF NOT EXISTS (SELECT FROM pgqueue_migrations) THEN
        DROP TABLE pgqueue_migrations;
    END IF;
END
$migration$;
