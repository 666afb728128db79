-- Asks the workers of the schema to re-poll, in place of one that has set a mark and has no free slot to claim with.
-- An empty payload says so: no queue has an empty name.
-- A full notification queue would fail the COMMIT.
SELECT CASE WHEN pg_notification_queue_usage() < 0.5 THEN pg_notify(pgqueue_channel(), '')::text ELSE '' END
