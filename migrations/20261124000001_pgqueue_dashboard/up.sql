-- Adds what operators work with to the current schema: the cause of death of a job, durable operations on many jobs, and
-- the trash that undoes a purge.
-- Safe to run twice and from several processes at once: it takes the migration lock, looks into the ledger
-- and does nothing if this version is there.
DO $migration$
DECLARE
    schema_name CONSTANT text := current_schema();
    jobs_schema text;
BEGIN
    IF schema_name IS NULL THEN
        RAISE EXCEPTION 'pgqueue cannot migrate: no schema of the search_path exists'
            USING HINT = 'Create the schema, or set search_path to one that exists.';
    END IF;
    PERFORM pg_advisory_xact_lock(hashtextextended('pgqueue_migrations:' || schema_name, 0));
    IF EXISTS (SELECT FROM pgqueue_migrations WHERE version = '20261124000001') THEN
        RETURN;
    END IF;

    SELECT n.nspname INTO jobs_schema
    FROM pg_class AS c
    JOIN pg_namespace AS n ON n.oid = c.relnamespace
    WHERE c.oid = to_regclass('pgqueue_jobs');
    IF jobs_schema IS DISTINCT FROM schema_name THEN
        RAISE EXCEPTION 'pgqueue cannot migrate schema "%": pgqueue_jobs is not in it', schema_name
            USING HINT = 'Run the migrations of pgqueue in their order, with the same search_path.';
    END IF;

    ALTER TABLE pgqueue_jobs ADD COLUMN cause bigint;

    -- The functions name their schema, so that they work under any search_path of the session that fires them.
    EXECUTE format($ddl$
        -- What messages of one cause have in common: their changing parts are replaced. Bounded first, as a message may be a
        -- megabyte; in the C collation, so that no upgrade of the system's locale moves jobs to another cause.
        CREATE FUNCTION %1$I.pgqueue_error_pattern(message text) RETURNS text
        LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
        AS $body$
        DECLARE
            -- A character that marks the numbers that stay: a message may have it, too.
            mark CONSTANT text := chr(1);
            pattern text COLLATE "C" := translate(left(message, 1000), mark, ' ');
        BEGIN
            pattern := regexp_replace(pattern, '\m[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\M', '<uuid>', 'gi');
            pattern := regexp_replace(pattern, '"[^"]*"', '<text>', 'g');
            pattern := regexp_replace(pattern, '(^|[^[:alnum:]])''[^'']*''', '\1<text>', 'g');
            pattern := regexp_replace(pattern, '[[:alnum:]._+-]+@[[:alnum:].-]+', '<address>', 'g');
            pattern := regexp_replace(pattern, '\m[0-9]{1,3}([.][0-9]{1,3}){3}(:[0-9]+)?\M', '<address>', 'g');
            pattern := regexp_replace(pattern, '\[[0-9a-f]*:[0-9a-f:.]+\](:[0-9]+)?', '<address>', 'gi');
            pattern := regexp_replace(pattern, '\m0x[0-9a-f]+\M', '<hex>', 'gi');
            pattern := regexp_replace(pattern, '\m(?=[0-9a-f]*[0-9])(?=[0-9a-f]*[a-f])[0-9a-f]{8,}\M', '<hex>', 'gi');
            pattern := regexp_replace(pattern, '\m[0-9]+([.][0-9]+)? ?(ns|us|ms|s|sec|secs|seconds?|min|minutes?|h|hours?|d|days?)\M', '<duration>', 'g');
            -- Status codes of HTTP say what happened. They are such by the words before them, or by the phrase that goes with
            -- each. A quick look goes first: most messages have neither.
            IF pattern ~ 'HTTP|[Hh]ttps?[ /]|[Ss]tatus|STATUS' THEN
                pattern := regexp_replace(pattern, '\m((?:https?(?:/[0-9](?:[.][0-9])?)?(?: (?:status|error|response))?|status)(?:[ _-]?code)?[ :=]{1,3})([1-5][0-9]{2})(?!\w|[.,][0-9])', '\1' || mark || '\2', 'gi');
            END IF;
            IF pattern ~ '[45][0-9]{2} [A-Z]' THEN
                pattern := regexp_replace(
                    pattern,
                    '\m(400 Bad Request|401 Unauthorized|402 Payment Required|403 Forbidden|404 Not Found|405 Method Not Allowed|406 Not Acceptable|'
                    '408 Request Timeout|409 Conflict|410 Gone|412 Precondition Failed|413 (Payload|Content) Too Large|415 Unsupported Media Type|'
                    '422 Unprocessable (Entity|Content)|423 Locked|429 Too Many Requests|500 Internal Server Error|501 Not Implemented|'
                    '502 Bad Gateway|503 Service Unavailable|504 Gateway Time-?[Oo]ut)\M',
                    mark || '\1',
                    'g'
                );
            END IF;
            pattern := regexp_replace(pattern, '(?<![\u00010-9])[0-9]+([.,][0-9]+)*', '<n>', 'g');
            pattern := translate(pattern, mark, '');
            pattern := regexp_replace(pattern, '\s+', ' ', 'g');
            RETURN left(btrim(pattern), 300);
        END
        $body$;

        -- The fingerprint of the newest of a job's errors.
        CREATE FUNCTION %1$I.pgqueue_cause(errors jsonb) RETURNS bigint
        LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
        AS $body$
            SELECT hashtextextended(
                (coalesce(errors -> -1 ->> 'kind', '') || ' ' || coalesce(%1$I.pgqueue_error_pattern(errors -> -1 ->> 'message'), '')) COLLATE "C",
                0
            )
        $body$;

        -- After the row has moved, in a second update of it: a trigger before it, even one whose condition never holds, makes
        -- PostgreSQL lock every row of every update of the table first, and finishes are what workers do most.
        CREATE FUNCTION %1$I.pgqueue_jobs_died() RETURNS trigger
        LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_custom_plan
        AS $body$
        BEGIN
            UPDATE %1$I.pgqueue_jobs AS j
            SET cause = %1$I.pgqueue_cause(j.errors)
            WHERE j.id = NEW.id AND j.state = 'dead';
            RETURN NULL;
        END
        $body$;
        -- For the reason given at pgqueue_jobs_wake.
        REVOKE ALL ON FUNCTION %1$I.pgqueue_jobs_died() FROM PUBLIC;

        CREATE TRIGGER pgqueue_jobs_died_on_insert AFTER INSERT ON %1$I.pgqueue_jobs
        FOR EACH ROW
        WHEN (NEW.state = 'dead' AND NEW.cause IS NULL)
        EXECUTE FUNCTION %1$I.pgqueue_jobs_died();

        CREATE TRIGGER pgqueue_jobs_died_on_update AFTER UPDATE OF state ON %1$I.pgqueue_jobs
        FOR EACH ROW
        WHEN (NEW.state = 'dead' AND OLD.state <> 'dead')
        EXECUTE FUNCTION %1$I.pgqueue_jobs_died();

        UPDATE %1$I.pgqueue_jobs AS j SET cause = %1$I.pgqueue_cause(j.errors) WHERE j.state = 'dead';
    $ddl$, schema_name);

    -- With what every look at a cause tells of its jobs: without it each of them is read.
    CREATE INDEX pgqueue_jobs_cause ON pgqueue_jobs (cause, finished_at, id) INCLUDE (kind, queue) WHERE state = 'dead';

    CREATE TABLE pgqueue_bulk_operations (
        id bigint GENERATED ALWAYS AS IDENTITY,
        created_at timestamptz NOT NULL DEFAULT now(),
        finished_at timestamptz,
        cutoff timestamptz NOT NULL,
        next_at timestamptz NOT NULL DEFAULT now(),
        expected bigint NOT NULL,
        expected_exactly boolean NOT NULL,
        done bigint NOT NULL DEFAULT 0,
        requested bigint NOT NULL DEFAULT 0,
        skipped bigint NOT NULL DEFAULT 0,
        undone bigint NOT NULL DEFAULT 0,
        rate integer,
        canary integer,
        state text NOT NULL DEFAULT 'running',
        verb text NOT NULL,
        actor text NOT NULL,
        reason text,
        error text,
        filter jsonb NOT NULL,
        place jsonb NOT NULL,
        skips jsonb NOT NULL DEFAULT '[]',
        CONSTRAINT pgqueue_bulk_operations_pkey PRIMARY KEY (id),
        CONSTRAINT pgqueue_bulk_operations_state CHECK (state IN ('running', 'paused', 'undoing', 'finished', 'cancelled', 'failed', 'undone')),
        CONSTRAINT pgqueue_bulk_operations_verb CHECK (verb IN ('requeue', 'cancel', 'purge', 'run_now')),
        CONSTRAINT pgqueue_bulk_operations_rate_range CHECK (rate BETWEEN 1 AND 100000)
    );
    CREATE INDEX pgqueue_bulk_operations_open ON pgqueue_bulk_operations (next_at, id) WHERE state IN ('running', 'undoing');

    CREATE TABLE pgqueue_trash (
        operation bigint NOT NULL,
        id bigint NOT NULL,
        kept_since timestamptz NOT NULL DEFAULT now(),
        job jsonb NOT NULL,
        CONSTRAINT pgqueue_trash_pkey PRIMARY KEY (operation, id)
    );
    CREATE INDEX pgqueue_trash_kept ON pgqueue_trash (kept_since);

    COMMENT ON TABLE pgqueue_bulk_operations IS 'pgqueue: actions on many jobs, done in steps; whoever finds one open does its next step';
    COMMENT ON COLUMN pgqueue_bulk_operations.cutoff IS 'jobs that came to match later are left alone';
    COMMENT ON COLUMN pgqueue_bulk_operations.place IS 'where the walk over the jobs has come to';
    COMMENT ON COLUMN pgqueue_bulk_operations.canary IS 'pauses by itself after so many jobs; null: goes on';
    COMMENT ON COLUMN pgqueue_bulk_operations.skips IS 'the first 1,000 jobs that were left as they are: [[id, reason]]';
    COMMENT ON TABLE pgqueue_trash IS 'pgqueue: jobs as they were before an operation purged or requeued them, for a day, to undo it';
    COMMENT ON COLUMN pgqueue_jobs.cause IS 'fingerprint of the newest error, set when the job becomes dead';
    COMMENT ON INDEX pgqueue_jobs_cause IS 'dead jobs by cause, for operators';

    INSERT INTO pgqueue_migrations (version) VALUES ('20261124000001');
END
$migration$;
