-- Net GMV per day of the invoice.
SELECT window_start, window_end, sum(quantity * unit_price) AS net_gmv, count(DISTINCT invoice_no) AS invoices
FROM TUMBLE(order_lines, invoiced_at, INTERVAL 1 DAY)
WHERE starts_with(invoice_no, 'C') OR (quantity > 0 AND regexp_matches(invoice_no, '^[0-9]'))
GROUP BY window_start, window_end
