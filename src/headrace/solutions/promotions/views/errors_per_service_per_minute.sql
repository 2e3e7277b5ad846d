-- Log lines of level ERROR per service and minute of event time.
SELECT window_start, window_end, service, count(*) AS errors
FROM TUMBLE(logs, logged_at, INTERVAL 1 MINUTE)
WHERE level = 'ERROR'
GROUP BY window_start, window_end, service
