-- The five products with the highest net sales since the beginning; equal sales: the smaller product_id first.
SELECT product_id, product, net_units, net_sales
FROM product_sales
ORDER BY net_sales DESC, product_id
LIMIT 5
