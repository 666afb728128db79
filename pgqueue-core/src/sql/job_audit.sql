-- The newest audit rows of one job.
-- $1 id bigint
-- uses index pgqueue_audit_job
SELECT a.at, a.actor, a.action, a.reason, a.details::text
FROM pgqueue_audit AS a
WHERE a.job_id = $1
ORDER BY a.job_id DESC, a.id DESC
LIMIT 50
