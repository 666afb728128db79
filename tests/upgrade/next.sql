-- A migration as the next version may bring it: it only adds, and nothing that an older program would have to fill.
BEGIN;
SET LOCAL lock_timeout = '200ms';
ALTER TABLE pgqueue_jobs
    ADD COLUMN next_note text,
    ADD COLUMN next_count integer NOT NULL DEFAULT 7;
ALTER TABLE pgqueue_workers ADD COLUMN next_note text;
ALTER TABLE pgqueue_queues ADD COLUMN next_count integer NOT NULL DEFAULT 7;
ALTER TABLE pgqueue_wake ADD COLUMN next_note text;
ALTER TABLE pgqueue_stats ADD COLUMN next_count bigint NOT NULL DEFAULT 0;
ALTER TABLE pgqueue_audit ADD COLUMN next_note text;
ALTER TABLE pgqueue_bulk_operations ADD COLUMN next_note text;
ALTER TABLE pgqueue_trash ADD COLUMN next_note text;
CREATE INDEX pgqueue_jobs_next ON pgqueue_jobs (next_note) WHERE next_note IS NOT NULL;
CREATE TABLE pgqueue_next (
    job_id bigint NOT NULL,
    CONSTRAINT pgqueue_next_pkey PRIMARY KEY (job_id)
);
INSERT INTO pgqueue_migrations (version) VALUES ('99991231000000');
COMMIT;
