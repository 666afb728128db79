-- Asks the workers of the schema to re-poll, in place of one that has set a mark and has no free slot to claim with.
-- An empty payload says so: no queue has an empty name.
SELECT pg_notify(pgqueue_channel(), '')::text
