-- GMV since the beginning. Gross: every sale at its price. Cancelled and returned: what went back, counted when it
-- goes back. Net: gross less both. An order counts once, however many lines it has, also when it is cancelled later.
SELECT
    coalesce(sum(quantity * unit_price) FILTER (WHERE kind = 'sale'), 0) AS gross_gmv,
    coalesce(sum(quantity * unit_price) FILTER (WHERE kind = 'cancellation'), 0) AS cancelled,
    coalesce(sum(quantity * unit_price) FILTER (WHERE kind = 'return'), 0) AS returned,
    coalesce(sum(CASE WHEN kind = 'sale' THEN quantity * unit_price ELSE -quantity * unit_price END), 0) AS net_gmv,
    count(DISTINCT order_id) FILTER (WHERE kind = 'sale') AS orders,
    count(*) FILTER (WHERE kind = 'sale') AS lines
FROM orders
