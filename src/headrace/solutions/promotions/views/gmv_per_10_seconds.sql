-- GMV per 10 seconds of event time: the pulse behind the large number. Refunds as in gmv_per_minute.
SELECT
    window_start,
    window_end,
    sum(CASE WHEN kind = 'sale' THEN quantity * unit_price ELSE -quantity * unit_price END) AS net_gmv
FROM TUMBLE(orders, occurred_at, INTERVAL 10 SECOND)
GROUP BY window_start, window_end
