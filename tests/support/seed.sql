-- Fills the tables as a shop of some age would have left them: every state, several causes of death, a day of statistics.
-- One row in `scale` stands for a thousand jobs.
INSERT INTO pgqueue_workers (name, host, pid, version, queues, kinds, started_at, expires_at)
SELECT 'shop-' || n, 'app-' || n || '.example', 4000 + n, '0.1.0', '{"default": 10, "mail": 5, "warehouse": 5, "reports": 1}',
    ARRAY['send_receipt', 'notify_warehouse', 'low_stock_report', 'archive_receipts', 'sync_account'],
    now() - n * interval '7 hours', now() + CASE WHEN n = 3 THEN interval '-40 s' ELSE interval '25 s' END
FROM generate_series(1, 3) AS n;

INSERT INTO pgqueue_queues (name, paused_at) VALUES ('reports', now() - interval '42 min');

INSERT INTO pgqueue_jobs (queue, kind, payload, state, priority, run_at, attempt, created_at, started_at, finished_at, fencing_token, metadata, output)
SELECT CASE n % 3 WHEN 0 THEN 'warehouse' WHEN 1 THEN 'mail' ELSE 'default' END,
    CASE n % 3 WHEN 0 THEN 'notify_warehouse' WHEN 1 THEN 'send_receipt' ELSE 'sync_account' END,
    jsonb_build_object('order_id', n, 'email', 'customer' || n || '@example.org'),
    'completed', 5, t.at - interval '2 s', 1, t.at - interval '3 s', t.at - interval '1 s', t.at, 1,
    jsonb_build_object('tags', jsonb_build_array('import')), NULL
FROM generate_series(1, :completed) AS n
CROSS JOIN LATERAL (SELECT now() - (n::double precision / :completed) * interval '24 hours' AS at) AS t;

INSERT INTO pgqueue_jobs (queue, kind, payload, state, priority, run_at, attempt, created_at, started_at, finished_at, fencing_token, unique_key, errors)
SELECT 'warehouse', 'notify_warehouse',
    jsonb_build_object('order_id', 900000 + n, 'postcode', '27498', 'api_token', 'secret-' || n),
    'dead', 5, t.at - interval '20 s', 4, t.at - interval '30 s', t.at - interval '1 s', t.at, 4,
    CASE WHEN n % 50 = 0 THEN 'order:' || n END,
    (SELECT jsonb_agg(jsonb_build_object('at', t.at - (4 - a) * interval '4 s', 'attempt', a, 'kind', 'error', 'message',
        CASE n % 3
            WHEN 0 THEN 'the warehouse refused order ' || (900000 + n) || ': postcode 27498 is closed (422)'
            WHEN 1 THEN 'POST http://127.0.0.1:' || (9000 + n % 7) || '/shipments: connection refused (os error 111)'
            ELSE 'timed out after ' || (5000 + n % 900) || ' ms waiting for shipment ' || md5(n::text)
        END)) FROM generate_series(1, 4) AS a)
FROM generate_series(1, :dead) AS n
CROSS JOIN LATERAL (SELECT now() - power(n::double precision / :dead, 2) * interval '3 days' AS at) AS t;

INSERT INTO pgqueue_jobs (queue, kind, payload, state, priority, run_at, attempt, created_at, finished_at, fencing_token, errors)
SELECT 'mail', 'send_receipt', jsonb_build_object('order', 'x' || n), 'dead', 5, now() - n * interval '1 hour', 1, now() - n * interval '1 hour' - interval '1 s',
    now() - n * interval '1 hour', 1,
    jsonb_build_array(jsonb_build_object('at', now() - n * interval '1 hour', 'attempt', 1, 'kind', 'payload', 'message', 'missing field `order_id` at line 1 column 14'))
FROM generate_series(1, 12) AS n;

INSERT INTO pgqueue_jobs (queue, kind, payload, state, run_at, attempt, created_at, finished_at, fencing_token, errors)
SELECT 'default', 'sync_account', jsonb_build_object('account', n), 'cancelled', now() - n * interval '1 min', 1, now() - n * interval '2 min', now() - n * interval '1 min', 1, '[]'
FROM generate_series(1, 30) AS n;

INSERT INTO pgqueue_jobs (queue, kind, payload, priority, run_at, attempt, errors, unique_key, created_at, metadata)
SELECT CASE n % 4 WHEN 0 THEN 'mail' WHEN 1 THEN 'warehouse' ELSE 'default' END,
    CASE n % 4 WHEN 0 THEN 'send_receipt' WHEN 1 THEN 'notify_warehouse' WHEN 2 THEN 'sync_account' ELSE 'translate_review' END,
    jsonb_build_object('order_id', 500000 + n), (n % 10)::smallint,
    now() + CASE n % 5 WHEN 0 THEN n * interval '1 s' ELSE - (n % 600) * interval '1 s' END,
    CASE n % 10 WHEN 0 THEN 2 ELSE 0 END,
    CASE n % 10 WHEN 0 THEN jsonb_build_array(jsonb_build_object('at', now() - interval '1 min', 'attempt', 2, 'kind', 'error', 'message', 'SMTP 451: try again later')) ELSE '[]' END,
    CASE WHEN n % 20 = 0 THEN 'order:' || n END,
    now() - (n % 700) * interval '1 s', jsonb_build_object('tags', jsonb_build_array('import', 'batch-' || n % 3))
FROM generate_series(1, :pending) AS n;

INSERT INTO pgqueue_jobs (queue, kind, payload, run_at) SELECT 'reports', 'low_stock_report', '{}', now() - interval '40 min';

INSERT INTO pgqueue_jobs (queue, kind, payload, state, run_at, attempt, created_at, started_at, fencing_token, claimed_by, claim_batch, deadline_at, cancel_requested_at, progress)
SELECT 'default', 'sync_account', jsonb_build_object('account', n), 'running', now() - n * interval '9 s', 1, now() - n * interval '10 s', now() - n * interval '8 s', 1,
    (SELECT id FROM pgqueue_workers ORDER BY id OFFSET n % 2 LIMIT 1), 1,
    CASE n % 3 WHEN 0 THEN now() + interval '2 min' END, CASE n WHEN 5 THEN now() END, CASE n % 2 WHEN 0 THEN jsonb_build_object('done', n * 10, 'of', 100) END
FROM generate_series(1, 8) AS n;

INSERT INTO pgqueue_stats (bucket, worker_id, completed, failed, dead, snoozed, run_ms_sum, wait_ms_sum, queue, kind, run_ms, wait_ms)
SELECT date_trunc('minute', now()) - m * interval '1 min', w.id, c.done, c.done / 20, CASE WHEN m % 17 = 0 AND k.kind = 'notify_warehouse' THEN 1 + c.done / 40 ELSE 0 END, 0,
    c.done * 40, c.done * 12, k.queue, k.kind,
    ARRAY[0, 0, c.done / 20, c.done / 10, c.done / 4, c.done / 3, c.done / 5, c.done / 20, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]::bigint[],
    ARRAY[c.done / 3, c.done / 4, c.done / 5, c.done / 8, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]::bigint[]
FROM generate_series(0, 1439) AS m
CROSS JOIN pgqueue_workers AS w
CROSS JOIN (VALUES ('mail', 'send_receipt'), ('warehouse', 'notify_warehouse'), ('default', 'sync_account')) AS k(queue, kind)
CROSS JOIN LATERAL (SELECT (60 + 50 * sin(m / 140.0) + (m * 37 % 23))::bigint AS done) AS c;

INSERT INTO pgqueue_audit (at, job_id, jobs, actor, action, queue, reason, details)
SELECT now() - n * interval '50 min', CASE n % 3 WHEN 0 THEN n END, CASE n % 3 WHEN 0 THEN 1 ELSE n * 3 END,
    CASE n % 2 WHEN 0 THEN 'alice' ELSE 'bob' END, CASE n % 3 WHEN 0 THEN 'cancel' WHEN 1 THEN 'requeue' ELSE 'pause' END,
    CASE n % 3 WHEN 2 THEN 'reports' END, CASE n % 2 WHEN 0 THEN 'the warehouse is back' END, '{"kind": "notify_warehouse"}'
FROM generate_series(1, 40) AS n;

-- As a canary leaves it: nobody goes on with it by himself.
INSERT INTO pgqueue_bulk_operations (created_at, cutoff, expected, expected_exactly, done, skipped, state, verb, actor, reason, filter, place, skips)
SELECT now() - interval '20 min', now() - interval '20 min', 40, true, 9, 1, 'paused', 'requeue', 'alice', 'the warehouse is back',
    '{"state": "dead", "kind": "notify_warehouse"}', '{"course": 0, "after": null}', '[[1, "conflict"]]';

ANALYZE pgqueue_jobs;
ANALYZE pgqueue_stats;
