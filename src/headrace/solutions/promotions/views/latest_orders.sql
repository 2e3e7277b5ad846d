-- The 20 newest movements of order lines. Of the buyer's name only the first letter is shown.
SELECT
    occurred_at,
    kind,
    left(buyer_name, 1) || '***' AS buyer,
    product,
    quantity,
    CASE WHEN kind = 'sale' THEN quantity * unit_price ELSE -quantity * unit_price END AS amount,
    event_id
FROM orders
ORDER BY occurred_at DESC, event_id DESC
LIMIT 20
