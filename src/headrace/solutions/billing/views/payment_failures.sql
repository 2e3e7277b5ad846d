-- Invoices of which a payment failed, and whether the money came after all.
--
-- Grain: one row per invoice with a failed payment.
-- failed_at     when the first payment failed; amount is what it was to bring, in minor units
-- recovered_at  when a payment first succeeded; NULL: not yet
SELECT
    merchant_id, invoice_id, customer_id, currency,
    min(created_at) FILTER (WHERE status = 'failed') AS failed_at,
    min(created_at) FILTER (WHERE status = 'succeeded') AS recovered_at,
    max(amount) AS amount,
    count(*) FILTER (WHERE status = 'failed') AS failures
FROM payments
WHERE invoice_id IS NOT NULL AND status IN ('failed', 'succeeded')
GROUP BY merchant_id, invoice_id, customer_id, currency
HAVING count(*) FILTER (WHERE status = 'failed') > 0
