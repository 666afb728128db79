-- Sums the statistics of a span of time, a queue and kind.
-- $1 from timestamptz
-- $2 to timestamptz
-- uses the primary key of pgqueue_stats
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
    -- Bar by bar: to unnest them and group again costs ten times as much.
    ARRAY[
        sum(s.run_ms[1])::bigint, sum(s.run_ms[2])::bigint, sum(s.run_ms[3])::bigint, sum(s.run_ms[4])::bigint,
        sum(s.run_ms[5])::bigint, sum(s.run_ms[6])::bigint, sum(s.run_ms[7])::bigint, sum(s.run_ms[8])::bigint,
        sum(s.run_ms[9])::bigint, sum(s.run_ms[10])::bigint, sum(s.run_ms[11])::bigint, sum(s.run_ms[12])::bigint,
        sum(s.run_ms[13])::bigint, sum(s.run_ms[14])::bigint, sum(s.run_ms[15])::bigint, sum(s.run_ms[16])::bigint,
        sum(s.run_ms[17])::bigint, sum(s.run_ms[18])::bigint, sum(s.run_ms[19])::bigint, sum(s.run_ms[20])::bigint,
        sum(s.run_ms[21])::bigint, sum(s.run_ms[22])::bigint, sum(s.run_ms[23])::bigint, sum(s.run_ms[24])::bigint
    ],
    ARRAY[
        sum(s.wait_ms[1])::bigint, sum(s.wait_ms[2])::bigint, sum(s.wait_ms[3])::bigint, sum(s.wait_ms[4])::bigint,
        sum(s.wait_ms[5])::bigint, sum(s.wait_ms[6])::bigint, sum(s.wait_ms[7])::bigint, sum(s.wait_ms[8])::bigint,
        sum(s.wait_ms[9])::bigint, sum(s.wait_ms[10])::bigint, sum(s.wait_ms[11])::bigint, sum(s.wait_ms[12])::bigint,
        sum(s.wait_ms[13])::bigint, sum(s.wait_ms[14])::bigint, sum(s.wait_ms[15])::bigint, sum(s.wait_ms[16])::bigint,
        sum(s.wait_ms[17])::bigint, sum(s.wait_ms[18])::bigint, sum(s.wait_ms[19])::bigint, sum(s.wait_ms[20])::bigint,
        sum(s.wait_ms[21])::bigint, sum(s.wait_ms[22])::bigint, sum(s.wait_ms[23])::bigint, sum(s.wait_ms[24])::bigint
    ]
FROM pgqueue_stats AS s
WHERE s.bucket >= $1::timestamptz AND s.bucket < $2::timestamptz
GROUP BY s.queue, s.kind
ORDER BY s.queue, s.kind
