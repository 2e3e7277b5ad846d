-- The five products with the highest net sales in each 10 minutes of event time (refunds of those 10 minutes taken
-- off); equal sales: the smaller product_id first.
SELECT
    window_start,
    window_end,
    row_number() OVER (PARTITION BY window_start ORDER BY net_sales DESC, product_id, product) AS place,
    product_id,
    product,
    net_units,
    net_sales
FROM (
    SELECT
        window_start,
        window_end,
        product_id,
        product,
        sum(CASE WHEN kind = 'sale' THEN quantity ELSE -quantity END) AS net_units,
        sum(CASE WHEN kind = 'sale' THEN quantity * unit_price ELSE -quantity * unit_price END) AS net_sales
    FROM TUMBLE(orders, occurred_at, INTERVAL 10 MINUTE)
    GROUP BY window_start, window_end, product_id, product
) AS sales
QUALIFY place <= 5
