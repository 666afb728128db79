-- Counts jobs that have ended and are kept, a queue: the newest of each state, of all queues, until a limit.
-- $1 most rows a walk visits bigint
-- uses indexes pgqueue_jobs_completed and _dead, and the rows that they lead to, for the queue; never the table by itself
SELECT e.queue, sum(e.completed)::bigint, sum(e.cancelled)::bigint, sum(e.dead)::bigint
FROM (
    SELECT c.queue, count(*) AS completed, 0 AS cancelled, 0 AS dead
    FROM (SELECT j.queue FROM pgqueue_jobs AS j WHERE j.state = 'completed' ORDER BY j.finished_at DESC LIMIT $1::bigint + 1) AS c
    GROUP BY c.queue
    UNION ALL
    SELECT c.queue, 0, count(*), 0
    FROM (SELECT j.queue FROM pgqueue_jobs AS j WHERE j.state = 'cancelled' ORDER BY j.finished_at DESC, j.id DESC LIMIT $1::bigint + 1) AS c
    GROUP BY c.queue
    UNION ALL
    SELECT d.queue, 0, 0, count(*)
    FROM (SELECT j.queue FROM pgqueue_jobs AS j WHERE j.state = 'dead' ORDER BY j.finished_at DESC, j.id DESC LIMIT $1::bigint + 1) AS d
    GROUP BY d.queue
) AS e
GROUP BY e.queue
ORDER BY e.queue
