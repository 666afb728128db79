-- Changes a job if it is still the version that was shown, and writes down what changed.
-- $1 id bigint, $2 version text, $3 payload text, $4 queue text, $5 priority smallint, $6 run_at timestamptz,
-- $7 max_retries integer, $8 requeue boolean, $9 hidden words text[], $10 actor text, $11 reason text
-- uses the primary key and index pgqueue_jobs_unique
WITH shown AS MATERIALIZED (
    SELECT
        j.*,
        coalesce($3::text::jsonb, j.payload) AS new_payload,
        coalesce($4::text, j.queue) AS new_queue,
        coalesce($5::smallint, j.priority) AS new_priority,
        CASE WHEN $8::boolean THEN coalesce($6::timestamptz, now()) ELSE coalesce($6::timestamptz, j.run_at) END AS new_run_at,
        coalesce($7::integer, j.max_retries) AS new_max_retries
    FROM pgqueue_jobs AS j
    WHERE j.id = $1::bigint AND j.xmin::text = $2::text AND j.state IN ('pending', 'dead')
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
            AND (s.state = 'pending' OR $8::boolean)
    ) AS id
    FROM shown AS s
),
-- The table bounds only what was never claimed.
too_large AS MATERIALIZED (
    SELECT p.bytes, p.most
    FROM shown AS s
    CROSS JOIN LATERAL (
        SELECT
            octet_length(s.new_payload::text)::bigint AS bytes,
            least(coalesce(nullif(current_setting('pgqueue.payload_limit', true), '')::bigint, 1048576), 67108864) AS most
        OFFSET 0
    ) AS p
    WHERE $3::text IS NOT NULL AND p.bytes > p.most
),
changed AS (
    UPDATE pgqueue_jobs AS j
    SET payload = s.new_payload,
        queue = s.new_queue,
        priority = s.new_priority,
        run_at = s.new_run_at,
        max_retries = s.new_max_retries,
        state = CASE WHEN $8::boolean THEN 'pending' ELSE j.state END,
        attempt = CASE WHEN $8::boolean AND j.state = 'dead' THEN 0 ELSE j.attempt END,
        lost = CASE WHEN $8::boolean AND j.state = 'dead' THEN 0 ELSE j.lost END,
        started_at = CASE WHEN $8::boolean AND j.state = 'dead' THEN NULL ELSE j.started_at END,
        finished_at = CASE WHEN $8::boolean THEN NULL ELSE j.finished_at END,
        cancel_requested_at = CASE WHEN $8::boolean THEN NULL ELSE j.cancel_requested_at END,
        progress = CASE WHEN $8::boolean AND j.state = 'dead' THEN NULL ELSE j.progress END,
        output = CASE WHEN $8::boolean AND j.state = 'dead' THEN NULL ELSE j.output END
    FROM shown AS s, blocker AS b
    WHERE j.id = s.id AND b.id IS NULL AND NOT EXISTS (SELECT FROM too_large)
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
    -- OFFSET keeps it from being printed once a word.
    CROSS JOIN LATERAL (SELECT lower(concat(p.key, ' ', p.old::text, ' ', p.new::text)) AS text OFFSET 0) AS printed
    CROSS JOIN LATERAL (
        SELECT EXISTS (SELECT FROM unnest($9::text[]) AS w(word) WHERE strpos(printed.text, w.word) > 0) AS is_hidden
    ) AS h
),
audit AS (
    INSERT INTO pgqueue_audit (job_id, jobs, actor, action, queue, reason, details)
    SELECT
        s.id,
        1,
        coalesce($10::text, session_user),
        CASE WHEN $8::boolean THEN 'edit and requeue' ELSE 'edit' END,
        s.new_queue,
        $11::text,
        jsonb_build_object(
            'before', jsonb_strip_nulls(jsonb_build_object(
                'payload', (SELECT jsonb_object_agg(t.key, t.old) FILTER (WHERE t.old IS NOT NULL) FROM told AS t),
                'queue', CASE WHEN s.queue <> s.new_queue THEN s.queue END,
                'priority', CASE WHEN s.priority <> s.new_priority THEN s.priority END,
                'run_at', CASE WHEN s.run_at <> s.new_run_at THEN s.run_at END,
                'max_retries', CASE WHEN s.max_retries <> s.new_max_retries THEN s.max_retries END,
                'state', CASE WHEN $8::boolean AND s.state <> 'pending' THEN s.state END
            )),
            'after', jsonb_strip_nulls(jsonb_build_object(
                'payload', (SELECT jsonb_object_agg(t.key, t.new) FILTER (WHERE t.new IS NOT NULL) FROM told AS t),
                'queue', CASE WHEN s.queue <> s.new_queue THEN s.new_queue END,
                'priority', CASE WHEN s.priority <> s.new_priority THEN s.new_priority END,
                'run_at', CASE WHEN s.run_at <> s.new_run_at THEN s.new_run_at END,
                'max_retries', CASE WHEN s.max_retries <> s.new_max_retries THEN s.new_max_retries END,
                'state', CASE WHEN $8::boolean AND s.state <> 'pending' THEN 'pending' END
            ))
        )
    FROM shown AS s
    JOIN changed AS c USING (id)
)
SELECT b.id, (SELECT c.id FROM changed AS c), (SELECT t.bytes FROM too_large AS t), (SELECT t.most FROM too_large AS t) FROM blocker AS b
