-- Folds minutes older than two days to hours of all workers (worker_id 0).
-- uses the primary key
WITH minutes AS MATERIALIZED (
    DELETE FROM pgqueue_stats AS s
    WHERE s.bucket < date_trunc('hour', now() - interval '2 days')
      AND s.worker_id <> 0
    RETURNING s.*
), counts AS MATERIALIZED (
    SELECT
        date_trunc('hour', m.bucket) AS bucket,
        m.queue,
        m.kind,
        sum(m.completed)::bigint AS completed,
        sum(m.failed)::bigint AS failed,
        sum(m.dead)::bigint AS dead,
        sum(m.cancelled)::bigint AS cancelled,
        sum(m.snoozed)::bigint AS snoozed,
        sum(m.lost)::bigint AS lost,
        sum(m.lease_lost)::bigint AS lease_lost,
        sum(m.run_ms_sum)::bigint AS run_ms_sum,
        sum(m.wait_ms_sum)::bigint AS wait_ms_sum
    FROM minutes AS m
    GROUP BY 1, 2, 3
), bars AS MATERIALIZED (
    SELECT date_trunc('hour', m.bucket) AS bucket, m.queue, m.kind, h.bar, sum(h.run)::bigint AS run, sum(h.wait)::bigint AS wait
    FROM minutes AS m
    CROSS JOIN LATERAL unnest(m.run_ms, m.wait_ms) WITH ORDINALITY AS h(run, wait, bar)
    GROUP BY 1, 2, 3, 4
), histograms AS MATERIALIZED (
    SELECT b.bucket, b.queue, b.kind, array_agg(b.run ORDER BY b.bar) AS run_ms, array_agg(b.wait ORDER BY b.bar) AS wait_ms
    FROM bars AS b
    GROUP BY 1, 2, 3
)
INSERT INTO pgqueue_stats AS s (
    bucket, worker_id, completed, failed, dead, cancelled, snoozed, lost, lease_lost, run_ms_sum, wait_ms_sum, queue, kind, run_ms, wait_ms
)
SELECT c.bucket, 0, c.completed, c.failed, c.dead, c.cancelled, c.snoozed, c.lost, c.lease_lost, c.run_ms_sum, c.wait_ms_sum, c.queue, c.kind, h.run_ms, h.wait_ms
FROM counts AS c
JOIN histograms AS h USING (bucket, queue, kind)
ORDER BY c.bucket, c.queue, c.kind
ON CONFLICT (bucket, queue, kind, worker_id) DO UPDATE
SET completed = s.completed + excluded.completed,
    failed = s.failed + excluded.failed,
    dead = s.dead + excluded.dead,
    cancelled = s.cancelled + excluded.cancelled,
    snoozed = s.snoozed + excluded.snoozed,
    lost = s.lost + excluded.lost,
    lease_lost = s.lease_lost + excluded.lease_lost,
    run_ms_sum = s.run_ms_sum + excluded.run_ms_sum,
    wait_ms_sum = s.wait_ms_sum + excluded.wait_ms_sum,
    run_ms = (SELECT array_agg(a.x + a.y ORDER BY a.bar) FROM unnest(s.run_ms, excluded.run_ms) WITH ORDINALITY AS a(x, y, bar)),
    wait_ms = (SELECT array_agg(a.x + a.y ORDER BY a.bar) FROM unnest(s.wait_ms, excluded.wait_ms) WITH ORDINALITY AS a(x, y, bar))
RETURNING s.worker_id
