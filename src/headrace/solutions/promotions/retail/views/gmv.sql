-- Gross: sold lines, those of invoices without a letter with a positive quantity. Refunds: lines of invoices that
-- begin with C. Net: gross less refunds. Corrections of stock and bookkeeping are in no sum.
SELECT
    coalesce(sum(quantity * unit_price) FILTER (WHERE quantity > 0 AND regexp_matches(invoice_no, '^[0-9]')), 0)
        AS gross_gmv,
    coalesce(sum(-quantity * unit_price) FILTER (WHERE starts_with(invoice_no, 'C')), 0) AS refunds,
    coalesce(sum(quantity * unit_price) FILTER (
        WHERE starts_with(invoice_no, 'C') OR (quantity > 0 AND regexp_matches(invoice_no, '^[0-9]'))
    ), 0) AS net_gmv,
    count(*) AS lines,
    count(DISTINCT customer_id) AS customers
FROM order_lines
