-- The 30 newest log lines of level ERROR.
SELECT logged_at, service, host, message, event_id
FROM error_logs
ORDER BY logged_at DESC, event_id DESC
LIMIT 30
