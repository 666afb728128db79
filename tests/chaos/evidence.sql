-- What the soak keeps beside the queue's own tables: the producers' rows, the handlers' effects, and every change of a job and
-- of a worker's lease, written by triggers in the transaction that makes it.
CREATE TABLE orders (
    intent bigint PRIMARY KEY
);

-- No unique constraint: an effect that happens twice must be seen.
CREATE TABLE effects (
    job bigint NOT NULL,
    token bigint NOT NULL
);

-- The numbers are drawn while the row is locked: those of one job are in the order of its changes.
CREATE TABLE changes (
    number bigint GENERATED ALWAYS AS IDENTITY,
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    job bigint NOT NULL,
    before_state text,
    after_state text,
    before_token bigint NOT NULL,
    after_token bigint NOT NULL,
    before_attempt integer NOT NULL,
    after_attempt integer NOT NULL,
    before_lost integer NOT NULL,
    after_lost integer NOT NULL,
    max_retries integer NOT NULL,
    owner bigint,
    batch bigint,
    failure text,
    -- How the statement begins that made the change.
    statement text NOT NULL DEFAULT left(current_query(), 30),
    queue text NOT NULL,
    unique_key text,
    intent bigint,
    act text
);

CREATE FUNCTION note_change() RETURNS trigger
LANGUAGE plpgsql
AS $body$
BEGIN
    IF TG_OP = 'INSERT' THEN
        INSERT INTO changes (job, after_state, before_token, after_token, before_attempt, after_attempt, before_lost, after_lost, max_retries, queue, unique_key, intent, act)
        VALUES (NEW.id, NEW.state, 0, NEW.fencing_token, 0, NEW.attempt, 0, NEW.lost, NEW.max_retries, NEW.queue, NEW.unique_key,
            (NEW.payload ->> 'intent')::bigint, NEW.payload ->> 'act');
    ELSIF TG_OP = 'DELETE' THEN
        INSERT INTO changes (job, before_state, before_token, after_token, before_attempt, after_attempt, before_lost, after_lost, max_retries, queue, unique_key)
        VALUES (OLD.id, OLD.state, OLD.fencing_token, OLD.fencing_token, OLD.attempt, OLD.attempt, OLD.lost, OLD.lost, OLD.max_retries, OLD.queue, OLD.unique_key);
    ELSE
        INSERT INTO changes (job, before_state, after_state, before_token, after_token, before_attempt, after_attempt, before_lost, after_lost, max_retries, owner, batch, failure, queue, unique_key)
        VALUES (NEW.id, OLD.state, NEW.state, OLD.fencing_token, NEW.fencing_token, OLD.attempt, NEW.attempt, OLD.lost, NEW.lost, NEW.max_retries,
            coalesce(NEW.claimed_by, OLD.claimed_by), coalesce(NEW.claim_batch, OLD.claim_batch),
            CASE WHEN NEW.errors <> OLD.errors THEN NEW.errors -> -1 ->> 'kind' END, NEW.queue, NEW.unique_key);
    END IF;
    RETURN NULL;
END
$body$;

CREATE TRIGGER note_insert AFTER INSERT OR DELETE ON pgqueue_jobs
FOR EACH ROW
EXECUTE FUNCTION note_change();

-- A wish to cancel a running job, a progress or a cause of death moves nothing.
CREATE TRIGGER note_update AFTER UPDATE ON pgqueue_jobs
FOR EACH ROW
WHEN (
    OLD.state <> NEW.state
    OR OLD.fencing_token <> NEW.fencing_token
    OR OLD.attempt <> NEW.attempt
    OR OLD.lost <> NEW.lost
    OR OLD.claimed_by IS DISTINCT FROM NEW.claimed_by
)
EXECUTE FUNCTION note_change();

CREATE TABLE leases (
    number bigint GENERATED ALWAYS AS IDENTITY,
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    worker bigint NOT NULL,
    pid integer NOT NULL,
    name text NOT NULL,
    -- Of a row that was deleted: what it was last.
    expires_at timestamptz NOT NULL,
    is_over boolean NOT NULL,
    -- The worker deleted the row itself.
    by_itself boolean NOT NULL
);

CREATE FUNCTION note_lease() RETURNS trigger
LANGUAGE plpgsql
AS $body$
BEGIN
    IF TG_OP = 'DELETE' THEN
        INSERT INTO leases (worker, pid, name, expires_at, is_over, by_itself)
        VALUES (OLD.id, OLD.pid, OLD.name, OLD.expires_at, true, current_query() LIKE '-- Removes a worker that has released%');
    ELSE
        INSERT INTO leases (worker, pid, name, expires_at, is_over, by_itself)
        VALUES (NEW.id, NEW.pid, NEW.name, NEW.expires_at, false, false);
    END IF;
    RETURN NULL;
END
$body$;

CREATE TRIGGER note_lease AFTER INSERT OR UPDATE OR DELETE ON pgqueue_workers
FOR EACH ROW
EXECUTE FUNCTION note_lease();
