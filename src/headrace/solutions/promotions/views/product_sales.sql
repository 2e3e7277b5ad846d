-- Sales of each product since the beginning: units and money, net of cancellations and returns.
SELECT
    product_id,
    product,
    sum(CASE WHEN kind = 'sale' THEN quantity ELSE -quantity END) AS net_units,
    sum(CASE WHEN kind = 'sale' THEN quantity * unit_price ELSE -quantity * unit_price END) AS net_sales
FROM orders
GROUP BY product_id, product
