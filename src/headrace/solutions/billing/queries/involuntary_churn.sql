-- Customers and MRR lost because payments failed, beside all that was lost.
-- $merchant TEXT: whose
-- $scenario TEXT = live: by which settings
-- $since DATE: first day
-- $until DATE: last day
SELECT
    currency,
    count(DISTINCT customer_id) AS churned,
    count(DISTINCT customer_id) FILTER (WHERE cause IN ('failed payment', 'overdue')) AS involuntary,
    CAST(-sum(amount) AS BIGINT) AS churned_mrr,
    CAST(-coalesce(sum(amount) FILTER (WHERE cause IN ('failed payment', 'overdue')), 0) AS BIGINT)
        AS involuntary_mrr,
    (SELECT coalesce(strftime(set_at, 'set %Y-%m-%d %H:%M'), 'defaults') FROM scenarios
     WHERE merchant_id = $merchant AND scenario = $scenario) AS definition
FROM mrr_movements
WHERE merchant_id = $merchant AND scenario = $scenario AND type = 'churn' AND day BETWEEN $since AND $until
GROUP BY currency
ORDER BY currency
