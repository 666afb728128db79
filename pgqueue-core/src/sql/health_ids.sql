-- Tells how much of each identity of our tables is used up.
-- uses no table of ours, only the catalogue
SELECT coalesce(jsonb_agg(to_jsonb(i) ORDER BY i.name), '[]')
FROM (
    SELECT s.sequencename::text AS name, coalesce(s.last_value, 0) AS used, s.max_value AS most
    FROM pg_sequences AS s
    WHERE s.sequencename LIKE 'pgqueue\_%'
      AND s.schemaname = (
          SELECT n.nspname FROM pg_class AS m JOIN pg_namespace AS n ON n.oid = m.relnamespace
          WHERE m.oid = to_regclass('pgqueue_migrations')
      )
) AS i
