-- Writes down that somebody looked at what is hidden of a job.
-- $1 id bigint, $2 actor text, $3 reason text
-- uses the primary key
INSERT INTO pgqueue_audit (job_id, jobs, actor, action, queue, reason, details)
SELECT j.id, 1, coalesce($2, session_user), 'reveal', j.queue, $3, '{}'
FROM pgqueue_jobs AS j
WHERE j.id = $1
RETURNING job_id
