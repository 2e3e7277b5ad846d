-- All requests of each IP address per minute of event time. Counted by the whole address, shown without its last
-- part, so two rows of one minute may look alike.
SELECT
    window_start,
    window_end,
    regexp_replace(ip, '[^.:]+$', 'x') AS masked_ip,
    requests
FROM (
    SELECT window_start, window_end, ip, count(*) AS requests
    FROM TUMBLE(requests, requested_at, INTERVAL 1 MINUTE)
    GROUP BY window_start, window_end, ip
) AS per_ip
