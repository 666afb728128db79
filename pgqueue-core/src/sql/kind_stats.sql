-- Sums the statistics of a span of time, a queue and kind.
-- $1 from timestamptz
-- $2 to timestamptz
-- uses the primary key of pgqueue_stats
WITH span AS MATERIALIZED (
    SELECT s.* FROM pgqueue_stats AS s WHERE s.bucket >= $1::timestamptz AND s.bucket < $2::timestamptz
), bars AS (
    SELECT s.queue, s.kind, h.bar, sum(h.run)::bigint AS run, sum(h.wait)::bigint AS wait
    FROM span AS s
    CROSS JOIN LATERAL unnest(s.run_ms, s.wait_ms) WITH ORDINALITY AS h(run, wait, bar)
    GROUP BY 1, 2, 3
), histograms AS (
    SELECT b.queue, b.kind, array_agg(b.run ORDER BY b.bar) AS run_ms, array_agg(b.wait ORDER BY b.bar) AS wait_ms
    FROM bars AS b
    GROUP BY 1, 2
)
SELECT
    s.queue,
    s.kind,
    sum(s.completed)::bigint,
    sum(s.failed)::bigint,
    sum(s.dead)::bigint,
    sum(s.cancelled)::bigint,
    sum(s.snoozed)::bigint,
    sum(s.lost)::bigint,
    sum(s.lease_lost)::bigint,
    (SELECT h.run_ms FROM histograms AS h WHERE h.queue = s.queue AND h.kind = s.kind),
    (SELECT h.wait_ms FROM histograms AS h WHERE h.queue = s.queue AND h.kind = s.kind)
FROM span AS s
GROUP BY s.queue, s.kind
ORDER BY s.queue, s.kind
