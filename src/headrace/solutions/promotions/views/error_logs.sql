-- Only the log lines of level ERROR.
SELECT logged_at, service, host, message, event_id
FROM logs
WHERE level = 'ERROR'
