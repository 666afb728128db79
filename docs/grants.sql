-- Five roles of least privilege for the queue in the current schema; docs/security.md tells what each can and cannot do.
-- Run it before the first migration, to have the owner, and after each one: by a superuser, or by who may create roles and
-- has the schema, the tables and the role jobs_owner. It may be run again at any time: what a role has beyond this is taken away.
-- For another schema set search_path first. For another name of a role replace it here: roles are the server's, not the database's.
DO $grants$
DECLARE
    schema_name CONSTANT text := current_schema();
    role_name text;
    object record;
BEGIN
    IF schema_name IS NULL THEN
        RAISE EXCEPTION 'no schema of the search_path exists'
            USING HINT = 'Create the schema of the queue, or set search_path to it.';
    END IF;

    FOREACH role_name IN ARRAY ARRAY['jobs_owner', 'jobs_producer', 'jobs_worker', 'jobs_viewer', 'jobs_operator'] LOOP
        IF NOT EXISTS (SELECT FROM pg_roles AS r WHERE r.rolname = role_name) THEN
            EXECUTE format('CREATE ROLE %I NOLOGIN', role_name);
        END IF;
    END LOOP;

    -- Who may create there could lay an operator or a function in the way of those who work there.
    EXECUTE format('REVOKE CREATE ON SCHEMA %I FROM PUBLIC, jobs_producer, jobs_worker, jobs_viewer, jobs_operator', schema_name);
    EXECUTE format('GRANT USAGE, CREATE ON SCHEMA %I TO jobs_owner', schema_name);
    EXECUTE format('GRANT USAGE ON SCHEMA %I TO jobs_producer, jobs_worker, jobs_viewer, jobs_operator', schema_name);

    -- One owner of all: our functions that run with their owner's rights use the tables.
    FOR object IN
        SELECT c.oid::regclass::text AS name
        FROM pg_class AS c
        WHERE c.relnamespace = quote_ident(schema_name)::regnamespace
          AND c.relkind IN ('r', 'p')
          AND c.relname LIKE 'pgqueue\_%'
    LOOP
        EXECUTE format('ALTER TABLE %s OWNER TO jobs_owner', object.name);
    END LOOP;
    FOR object IN
        SELECT c.oid::regclass::text AS name
        FROM pg_class AS c
        WHERE c.relnamespace = quote_ident(schema_name)::regnamespace
          AND c.relkind IN ('r', 'p', 'S')
          AND c.relname LIKE 'pgqueue\_%'
    LOOP
        EXECUTE format('REVOKE ALL ON %s FROM PUBLIC, jobs_producer, jobs_worker, jobs_viewer, jobs_operator', object.name);
    END LOOP;
    FOR object IN
        SELECT p.oid::regprocedure::text AS name
        FROM pg_proc AS p
        WHERE p.pronamespace = quote_ident(schema_name)::regnamespace
          AND p.proname LIKE 'pgqueue\_%'
    LOOP
        EXECUTE format('ALTER FUNCTION %s OWNER TO jobs_owner', object.name);
        EXECUTE format('REVOKE ALL ON FUNCTION %s FROM PUBLIC, jobs_producer, jobs_worker, jobs_viewer, jobs_operator', object.name);
    END LOOP;

    IF to_regclass('pgqueue_jobs') IS NULL THEN
        RAISE NOTICE 'there are no tables yet: migrate as jobs_owner, then run this again';
        RETURN;
    END IF;

    -- The producer enqueues, and finds who has a unique key. It never sees a payload.
    GRANT INSERT (id, queue, kind, payload, priority, run_at, max_retries, unique_key, timeout, metadata),
        SELECT (id, queue, unique_key, state)
        ON pgqueue_jobs TO jobs_producer;
    GRANT EXECUTE ON FUNCTION pgqueue_next_ids, pgqueue_enqueue_again TO jobs_producer;

    -- The worker moves jobs and removes old ones, and cannot change what a job is. Its handlers enqueue, too.
    GRANT SELECT,
        INSERT (id, queue, kind, payload, priority, run_at, max_retries, unique_key, timeout, metadata),
        UPDATE (
            state, run_at, attempt, lost, fencing_token, claimed_by, claim_batch, started_at, finished_at, deadline_at,
            errors, progress, output
        ),
        DELETE
        ON pgqueue_jobs TO jobs_worker;
    GRANT SELECT,
        INSERT (name, host, pid, version, queues, kinds, expires_at),
        UPDATE (expires_at),
        DELETE
        ON pgqueue_workers TO jobs_worker;
    GRANT SELECT ON pgqueue_queues, pgqueue_migrations TO jobs_worker;
    GRANT SELECT, INSERT, UPDATE (wanted, horizon) ON pgqueue_wake TO jobs_worker;
    GRANT SELECT, INSERT, UPDATE, DELETE ON pgqueue_stats TO jobs_worker;
    -- It empties the trash without seeing the jobs in there; to lock a row takes UPDATE of any column.
    GRANT SELECT (operation, id, kept_since), UPDATE (kept_since), DELETE ON pgqueue_trash TO jobs_worker;
    GRANT EXECUTE ON FUNCTION pgqueue_channel, pgqueue_next_ids, pgqueue_enqueue_again TO jobs_worker;

    -- The viewer serves every page of a dashboard, payloads included, and changes nothing.
    GRANT SELECT
        ON pgqueue_jobs, pgqueue_workers, pgqueue_queues, pgqueue_wake, pgqueue_stats, pgqueue_audit, pgqueue_bulk_operations,
        pgqueue_trash, pgqueue_migrations
        TO jobs_viewer, jobs_operator;
    -- Without it the page PostgreSQL cannot tell how many ids are used up.
    GRANT SELECT
        ON SEQUENCE pgqueue_jobs_id_seq, pgqueue_workers_id_seq, pgqueue_audit_id_seq, pgqueue_bulk_operations_id_seq
        TO jobs_viewer, jobs_operator;
    GRANT EXECUTE ON FUNCTION pgqueue_error_pattern TO jobs_viewer, jobs_operator;

    -- The operator does what a dashboard offers. It adds to the audit and cannot change it, nor choose the time of an entry.
    GRANT INSERT, UPDATE, DELETE ON pgqueue_jobs, pgqueue_trash TO jobs_operator;
    GRANT INSERT (name, paused_at), UPDATE (paused_at) ON pgqueue_queues TO jobs_operator;
    GRANT INSERT, UPDATE ON pgqueue_bulk_operations TO jobs_operator;
    GRANT INSERT (job_id, jobs, actor, action, queue, reason, details) ON pgqueue_audit TO jobs_operator;
    GRANT EXECUTE ON FUNCTION pgqueue_requeue, pgqueue_wake_queue, pgqueue_channel TO jobs_operator;
END
$grants$;
