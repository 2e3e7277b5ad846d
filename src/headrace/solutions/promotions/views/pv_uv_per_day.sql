-- Page views and unique visitors per day of event time (UTC). A page view is a request for a page that was answered
-- without an error (status below 400); a visitor counts once per day.
SELECT
    window_start,
    window_end,
    count(*) AS page_views,
    count(DISTINCT visitor_id) AS unique_visitors
FROM TUMBLE(requests, requested_at, INTERVAL 1 DAY)
WHERE kind = 'page' AND status < 400
GROUP BY window_start, window_end
