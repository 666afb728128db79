-- Tells version, use of connections, settings that matter, and what this role may see, as one document.
-- uses no table
SELECT jsonb_build_object(
    'version', current_setting('server_version'),
    'max_connections', current_setting('max_connections')::bigint,
    'connections', (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'),
    'idle_in_transaction_timeout', current_setting('idle_in_transaction_session_timeout'),
    'idle_in_transaction_limited', (
        SELECT s.reset_val <> '0' FROM pg_settings AS s WHERE s.name = 'idle_in_transaction_session_timeout'
    ),
    'autovacuum', current_setting('autovacuum')::boolean AND current_setting('track_counts')::boolean,
    'notifications', pg_notification_queue_usage(),
    'role', current_user,
    'database', current_database(),
    'sees_others', pg_has_role(current_user, 'pg_read_all_stats', 'USAGE'),
    'listeners', (
        SELECT count(*) FROM pg_stat_activity AS a
        WHERE a.datname = current_database()
          -- A worker's listener tries notifications on itself; a listener of the host has LISTEN as its newest statement.
          AND (a.query ~* '^\s*(UN)?LISTEN\M' OR a.query ~ '^NOTIFY "pgqueue[.]')
    )
)
