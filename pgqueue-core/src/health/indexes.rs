//! The indexes that statements rely on, as the migrations make them: also the fix for one that is missing.

/// Each with the statement that makes it.
pub(super) const ALL: [(&str, &str); 10] = [
    (
        "pgqueue_jobs_dequeue",
        "CREATE INDEX CONCURRENTLY pgqueue_jobs_dequeue ON pgqueue_jobs (queue, priority, run_at, id) WHERE state = 'pending';",
    ),
    (
        "pgqueue_jobs_suspect",
        "CREATE INDEX CONCURRENTLY pgqueue_jobs_suspect ON pgqueue_jobs (queue, run_at, id) WHERE state = 'pending' AND lost > 0;",
    ),
    (
        "pgqueue_jobs_unique",
        "CREATE UNIQUE INDEX CONCURRENTLY pgqueue_jobs_unique ON pgqueue_jobs (queue, unique_key) WHERE unique_key IS NOT NULL AND state IN ('pending', 'running');",
    ),
    (
        "pgqueue_jobs_running",
        "CREATE INDEX CONCURRENTLY pgqueue_jobs_running ON pgqueue_jobs (claimed_by) WHERE state = 'running';",
    ),
    (
        "pgqueue_jobs_completed",
        "CREATE INDEX CONCURRENTLY pgqueue_jobs_completed ON pgqueue_jobs (finished_at) WHERE state = 'completed';",
    ),
    (
        "pgqueue_jobs_dead",
        "CREATE INDEX CONCURRENTLY pgqueue_jobs_dead ON pgqueue_jobs (state, finished_at, id) WHERE state IN ('dead', 'cancelled');",
    ),
    (
        "pgqueue_jobs_cause",
        "CREATE INDEX CONCURRENTLY pgqueue_jobs_cause ON pgqueue_jobs (cause, finished_at, id) INCLUDE (kind, queue) WHERE state = 'dead';",
    ),
    (
        "pgqueue_audit_job",
        "CREATE INDEX CONCURRENTLY pgqueue_audit_job ON pgqueue_audit (job_id, id) WHERE job_id IS NOT NULL;",
    ),
    (
        "pgqueue_bulk_operations_open",
        "CREATE INDEX CONCURRENTLY pgqueue_bulk_operations_open ON pgqueue_bulk_operations (next_at, id) WHERE state IN ('running', 'undoing');",
    ),
    (
        "pgqueue_trash_kept",
        "CREATE INDEX CONCURRENTLY pgqueue_trash_kept ON pgqueue_trash (kept_since);",
    ),
];

/// Gives the names.
pub(super) fn names() -> Vec<String> {
    ALL.iter().map(|(name, _)| (*name).to_owned()).collect()
}
