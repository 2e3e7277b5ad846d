-- The ten busiest IP addresses of each minute of event time, shown without their last part; `failed` are the requests
-- that were answered with status 400 or above.
SELECT
    window_start,
    window_end,
    place,
    regexp_replace(ip, '[^.:]+$', 'x') AS masked_ip,
    requests,
    failed
FROM (
    SELECT
        window_start,
        window_end,
        row_number() OVER (PARTITION BY window_start ORDER BY requests DESC, ip) AS place,
        ip,
        requests,
        failed
    FROM (
        SELECT
            window_start,
            window_end,
            ip,
            count(*) AS requests,
            count(*) FILTER (WHERE status >= 400) AS failed
        FROM TUMBLE(requests, requested_at, INTERVAL 1 MINUTE)
        GROUP BY window_start, window_end, ip
    ) AS per_ip
    QUALIFY place <= 10
) AS ranked
