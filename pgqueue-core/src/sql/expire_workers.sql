-- Deletes the rows of workers whose lease has run out. Committing this is the fence: a beat that races wins, or finds no row.
DELETE FROM pgqueue_workers
WHERE expires_at < clock_timestamp()
RETURNING id
