-- Counts the runs that ended, a queue and step of time.
-- $1 from timestamptz
-- $2 to timestamptz
-- $3 step interval
-- uses the primary key of pgqueue_stats
SELECT s.queue, date_bin($3::interval, s.bucket, $1::timestamptz) AS step, sum(s.completed + s.failed + s.lost)::bigint
FROM pgqueue_stats AS s
WHERE s.bucket >= $1::timestamptz AND s.bucket < $2::timestamptz
GROUP BY 1, 2
ORDER BY 1, 2
