-- Tells of each index that we need whether it is there and valid, its size and its use.
-- $1 names of the indexes text[]
-- uses no table of ours, only the catalogue
SELECT jsonb_agg(to_jsonb(i) ORDER BY i.bytes DESC, i.name)
FROM (
    SELECT
        w.name,
        x.indexrelid IS NOT NULL AS present,
        coalesce(x.indisvalid AND x.indisready, false) AS valid,
        coalesce(pg_relation_size(x.indexrelid), 0) AS bytes,
        coalesce(s.idx_scan, 0) AS scans
    FROM unnest($1::text[]) AS w(name)
    LEFT JOIN pg_index AS x ON x.indexrelid = to_regclass(w.name)
    LEFT JOIN pg_stat_user_indexes AS s ON s.indexrelid = x.indexrelid
) AS i
