-- Counts all jobs of a state: the one statement whose purpose it is to visit them all. Only the chosen branch runs.
-- $1 state text
-- uses the partial index of the state
SELECT CASE $1::text
    WHEN 'pending' THEN (SELECT count(*) FROM pgqueue_jobs AS j WHERE j.state = 'pending')
    WHEN 'running' THEN (SELECT count(*) FROM pgqueue_jobs AS j WHERE j.state = 'running')
    WHEN 'completed' THEN (SELECT count(*) FROM pgqueue_jobs AS j WHERE j.state = 'completed')
    WHEN 'cancelled' THEN (SELECT count(*) FROM pgqueue_jobs AS j WHERE j.state = 'cancelled')
    WHEN 'dead' THEN (SELECT count(*) FROM pgqueue_jobs AS j WHERE j.state = 'dead')
    ELSE 0
END
