-- What the tests of interleavings add to a migrated database.

-- Registers a worker whose lease lasts so long, or has run out.
CREATE FUNCTION worker(id bigint, lease interval) RETURNS void
LANGUAGE sql
AS $body$
    INSERT INTO pgqueue_workers (id, name, host, pid, version, queues, kinds, started_at, expires_at)
    OVERRIDING SYSTEM VALUE
    VALUES (id, 'w', 'h', 1, '0', '{"default": 1}', '{email}', 'epoch', clock_timestamp() + lease)
$body$;

-- Makes a job. A running one is in its first run, which its worker should have ended two hours ago.
CREATE FUNCTION job(id bigint, state text, worker bigint DEFAULT NULL, key text DEFAULT NULL) RETURNS void
LANGUAGE sql
AS $body$
    INSERT INTO pgqueue_jobs (
        id, kind, payload, unique_key, run_at, state, claimed_by, claim_batch, attempt, fencing_token, deadline_at, finished_at
    )
    SELECT
        id,
        'email',
        '{}',
        key,
        now() - interval '3 h',
        state,
        worker,
        CASE WHEN state = 'running' THEN 1 END,
        CASE WHEN state = 'pending' THEN 0 ELSE 1 END,
        CASE WHEN state = 'pending' THEN 0 ELSE 1 END,
        CASE WHEN state = 'running' THEN now() - interval '2 h' END,
        CASE WHEN state IN ('completed', 'cancelled', 'dead') THEN now() - interval '2 h' END
$body$;

-- Every move of a job, written in the transaction that moves it: those that are rolled back leave nothing.
CREATE TABLE moves (
    place bigint GENERATED ALWAYS AS IDENTITY,
    was jsonb,
    became jsonb,
    session bigint NOT NULL DEFAULT pg_backend_pid(),
    owner_lives boolean NOT NULL
);

-- It names its schema, as triggers of ours move rows under a search path of their own.
-- Whether the owner was registered when its job was taken from it is asked as the job is taken, in a snapshot of that moment.
CREATE FUNCTION note_move() RETURNS trigger
LANGUAGE plpgsql
AS $body$
DECLARE
    owner_lives boolean := false;
BEGIN
    IF TG_OP = 'UPDATE' AND NEW.lost > OLD.lost THEN
        owner_lives := EXISTS (SELECT FROM public.pgqueue_workers AS w WHERE w.id = OLD.claimed_by);
    END IF;
    INSERT INTO public.moves (was, became, owner_lives)
    VALUES (
        CASE WHEN TG_OP <> 'INSERT' THEN to_jsonb(OLD) END,
        CASE WHEN TG_OP <> 'DELETE' THEN to_jsonb(NEW) END,
        owner_lives
    );
    RETURN NULL;
END
$body$;

-- By its name the first: a trigger of ours that moves the row again comes behind.
CREATE TRIGGER a_move AFTER INSERT OR UPDATE OR DELETE ON pgqueue_jobs
FOR EACH ROW
EXECUTE FUNCTION note_move();

CREATE FUNCTION what_is_left() RETURNS jsonb
LANGUAGE sql
AS $body$
    SELECT jsonb_build_object(
        'jobs', (SELECT coalesce(jsonb_agg(to_jsonb(j) ORDER BY j.id), '[]') FROM pgqueue_jobs AS j),
        'moves', (SELECT coalesce(jsonb_agg(to_jsonb(m) ORDER BY m.place), '[]') FROM moves AS m),
        'workers', (SELECT coalesce(jsonb_agg(w.id ORDER BY w.id), '[]') FROM pgqueue_workers AS w)
    )
$body$;
