-- When a subscription was first paid for: the first paid invoice of it with more than nothing on it.
SELECT merchant_id, subscription_id, min(paid_at) AS first_paid_at
FROM invoices
WHERE status = 'paid' AND amount_paid > 0 AND paid_at IS NOT NULL AND subscription_id IS NOT NULL
GROUP BY merchant_id, subscription_id
