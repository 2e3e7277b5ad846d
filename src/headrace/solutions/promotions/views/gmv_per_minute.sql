-- GMV per minute of event time. A refund counts in the minute in which it happened, not in the minute of its sale:
-- a closed minute is never rewritten by a later return.
SELECT
    window_start,
    window_end,
    coalesce(sum(quantity * unit_price) FILTER (WHERE kind = 'sale'), 0) AS gross_gmv,
    coalesce(sum(quantity * unit_price) FILTER (WHERE kind <> 'sale'), 0) AS refunds,
    sum(CASE WHEN kind = 'sale' THEN quantity * unit_price ELSE -quantity * unit_price END) AS net_gmv,
    count(DISTINCT order_id) FILTER (WHERE kind = 'sale') AS orders
FROM TUMBLE(orders, occurred_at, INTERVAL 1 MINUTE)
GROUP BY window_start, window_end
