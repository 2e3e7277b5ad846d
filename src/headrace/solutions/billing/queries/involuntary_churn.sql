-- Customers and MRR lost because payments failed, beside all that was lost, per currency.
-- $merchant TEXT: whose
-- $scenario TEXT = live IN (live, {scenario_choices}): by which settings
-- $since DATE BETWEEN 1970-01-01 AND 2099-12-31: first day
-- $until DATE BETWEEN 1970-01-01 AND 2099-12-31: last day
WITH named AS (
    SELECT * FROM {names} AS names WHERE {by_customer}
),
held AS (
    SELECT moves.*, named.named
    FROM mrr_movements AS moves
    LEFT JOIN named ON named.customer_id = moves.customer_id
    WHERE moves.merchant_id = $merchant AND moves.scenario = $scenario AND moves.type = 'churn'
        AND moves.day BETWEEN $since AND $until
)
SELECT
    currency,
    count(DISTINCT customer_id) AS churned,
    count(DISTINCT customer_id) FILTER (WHERE cause IN ('failed payment', 'overdue')) AS involuntary,
    CAST(-sum(amount) AS BIGINT) AS churned_mrr,
    CAST(-coalesce(sum(amount) FILTER (WHERE cause IN ('failed payment', 'overdue')), 0) AS BIGINT)
        AS involuntary_mrr,
    {definition} AS definition,
    {sliced} AS slice,
    CASE WHEN $by IS NOT NULL THEN coalesce({sliced}, '(none)') END AS part
FROM held
WHERE {filtered}
GROUP BY currency, slice, part
ORDER BY slice, currency
