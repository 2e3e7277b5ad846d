-- The five stock codes with the highest net sales, lines without a price left out; equal sales: by stock code.
SELECT stock_code, sum(quantity) AS net_units, sum(quantity * unit_price) AS net_sales
FROM order_lines
WHERE unit_price > 0 AND (starts_with(invoice_no, 'C') OR (quantity > 0 AND regexp_matches(invoice_no, '^[0-9]')))
GROUP BY stock_code
ORDER BY net_sales DESC, stock_code
LIMIT 5
