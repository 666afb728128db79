-- Changes a job if it is still the version that was shown, and writes down what changed.
-- $1 id bigint, $2 version text, $3 payload text, $4 queue text, $5 priority smallint, $6 run_at timestamptz,
-- $7 max_retries integer, $8 requeue boolean, $9 hidden words text[], $10 actor text, $11 reason text
-- uses the primary key and index pgqueue_jobs_unique
WITH shown AS MATERIALIZED (
    SELECT
        j.*,
        coalesce($3::jsonb, j.payload) AS new_payload,
        coalesce($4, j.queue) AS new_queue,
        coalesce($5, j.priority) AS new_priority,
        CASE WHEN $8 THEN coalesce($6, now()) ELSE coalesce($6, j.run_at) END AS new_run_at,
        coalesce($7, j.max_retries) AS new_max_retries
    FROM pgqueue_jobs AS j
    WHERE j.id = $1 AND j.xmin::text = $2 AND j.state IN ('pending', 'dead')
    FOR UPDATE
),
-- In its way is a job with the same key in the queue it goes to, if it goes there pending.
blocker AS MATERIALIZED (
    SELECT (
        SELECT u.id
        FROM pgqueue_jobs AS u
        WHERE u.queue = s.new_queue
            AND u.unique_key = s.unique_key
            AND u.unique_key IS NOT NULL
            AND u.state IN ('pending', 'running')
            AND u.id <> s.id
            AND (s.state = 'pending' OR $8)
    ) AS id
    FROM shown AS s
),
changed AS (
    UPDATE pgqueue_jobs AS j
    SET payload = s.new_payload,
        queue = s.new_queue,
        priority = s.new_priority,
        run_at = s.new_run_at,
        max_retries = s.new_max_retries,
        state = CASE WHEN $8 THEN 'pending' ELSE j.state END,
        attempt = CASE WHEN $8 AND j.state = 'dead' THEN 0 ELSE j.attempt END,
        lost = CASE WHEN $8 AND j.state = 'dead' THEN 0 ELSE j.lost END,
        started_at = CASE WHEN $8 AND j.state = 'dead' THEN NULL ELSE j.started_at END,
        finished_at = CASE WHEN $8 THEN NULL ELSE j.finished_at END,
        cancel_requested_at = CASE WHEN $8 THEN NULL ELSE j.cancel_requested_at END,
        progress = CASE WHEN $8 AND j.state = 'dead' THEN NULL ELSE j.progress END,
        output = CASE WHEN $8 AND j.state = 'dead' THEN NULL ELSE j.output END
    FROM shown AS s, blocker AS b
    WHERE j.id = s.id AND b.id IS NULL
    RETURNING j.id
),
-- Of the payload the audit keeps what differs, and not where a word hints at a secret.
parts AS MATERIALIZED (
    SELECT k.key, o.value AS old, n.value AS new
    FROM shown AS s
    CROSS JOIN LATERAL (
        SELECT
            CASE jsonb_typeof(s.payload) WHEN 'object' THEN s.payload ELSE jsonb_build_object('', s.payload) END AS old,
            CASE jsonb_typeof(s.new_payload) WHEN 'object' THEN s.new_payload ELSE jsonb_build_object('', s.new_payload) END AS new
    ) AS p
    CROSS JOIN LATERAL (SELECT jsonb_object_keys(p.old) UNION SELECT jsonb_object_keys(p.new)) AS k(key)
    CROSS JOIN LATERAL (SELECT p.old -> k.key AS value) AS o
    CROSS JOIN LATERAL (SELECT p.new -> k.key AS value) AS n
    WHERE o.value IS DISTINCT FROM n.value
),
told AS (
    SELECT
        p.key,
        CASE WHEN h.is_hidden AND p.old IS NOT NULL THEN '"(hidden)"' ELSE p.old END AS old,
        CASE WHEN h.is_hidden AND p.new IS NOT NULL THEN '"(hidden)"' ELSE p.new END AS new
    FROM parts AS p
    CROSS JOIN LATERAL (
        SELECT EXISTS (
            SELECT FROM unnest($9) AS w(word)
            WHERE strpos(lower(concat(p.key, ' ', p.old::text, ' ', p.new::text)), w.word) > 0
        ) AS is_hidden
    ) AS h
),
audit AS (
    INSERT INTO pgqueue_audit (job_id, jobs, actor, action, queue, reason, details)
    SELECT
        s.id,
        1,
        coalesce($10, session_user),
        CASE WHEN $8 THEN 'edit and requeue' ELSE 'edit' END,
        s.new_queue,
        $11,
        jsonb_build_object(
            'before', jsonb_strip_nulls(jsonb_build_object(
                'payload', (SELECT jsonb_object_agg(t.key, t.old) FILTER (WHERE t.old IS NOT NULL) FROM told AS t),
                'queue', CASE WHEN s.queue <> s.new_queue THEN s.queue END,
                'priority', CASE WHEN s.priority <> s.new_priority THEN s.priority END,
                'run_at', CASE WHEN s.run_at <> s.new_run_at THEN s.run_at END,
                'max_retries', CASE WHEN s.max_retries <> s.new_max_retries THEN s.max_retries END,
                'state', CASE WHEN $8 AND s.state <> 'pending' THEN s.state END
            )),
            'after', jsonb_strip_nulls(jsonb_build_object(
                'payload', (SELECT jsonb_object_agg(t.key, t.new) FILTER (WHERE t.new IS NOT NULL) FROM told AS t),
                'queue', CASE WHEN s.queue <> s.new_queue THEN s.new_queue END,
                'priority', CASE WHEN s.priority <> s.new_priority THEN s.new_priority END,
                'run_at', CASE WHEN s.run_at <> s.new_run_at THEN s.new_run_at END,
                'max_retries', CASE WHEN s.max_retries <> s.new_max_retries THEN s.new_max_retries END,
                'state', CASE WHEN $8 AND s.state <> 'pending' THEN 'pending' END
            ))
        )
    FROM shown AS s
    JOIN changed AS c USING (id)
)
SELECT b.id, (SELECT c.id FROM changed AS c) FROM blocker AS b
