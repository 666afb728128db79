-- Lists who paused and resumed a queue, the newest first, among the newest entries of the audit.
-- $1 queue text
-- $2 most entries looked at bigint
-- $3 most entries listed bigint
-- uses the primary key of pgqueue_audit
SELECT a.id, a.at, a.actor, a.action, a.reason
FROM (SELECT l.* FROM pgqueue_audit AS l ORDER BY l.id DESC LIMIT $2::bigint) AS a
WHERE a.queue = $1::text AND a.action IN ('pause', 'resume')
ORDER BY a.id DESC
LIMIT $3::bigint
