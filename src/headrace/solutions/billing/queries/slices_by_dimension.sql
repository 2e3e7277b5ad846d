-- MRR by one of the merchant's own dimensions of customers, such as `segment`, between two days: start, movements, end.
--
-- Amounts in minor units of each row's currency; customers without the dimension are not in it.
-- $merchant TEXT: whose
-- $scenario TEXT = live: by which settings
-- $dimension TEXT: which
-- $since DATE: first day
-- $until DATE: last day
SELECT
    value AS slice,
    currency,
    CAST(coalesce(sum(amount) FILTER (WHERE day < $since), 0) AS BIGINT) AS start_mrr,
    CAST(coalesce(sum(amount) FILTER (WHERE day >= $since AND type = 'new'), 0) AS BIGINT) AS new_mrr,
    CAST(coalesce(sum(amount) FILTER (WHERE day >= $since AND type = 'reactivation'), 0) AS BIGINT)
        AS reactivation_mrr,
    CAST(coalesce(sum(amount) FILTER (WHERE day >= $since AND type = 'expansion'), 0) AS BIGINT) AS expansion_mrr,
    CAST(coalesce(sum(amount) FILTER (WHERE day >= $since AND type = 'contraction'), 0) AS BIGINT)
        AS contraction_mrr,
    CAST(coalesce(sum(amount) FILTER (WHERE day >= $since AND type = 'churn'), 0) AS BIGINT) AS churned_mrr,
    CAST(sum(amount) AS BIGINT) AS mrr
FROM mrr_daily_by_dimension
WHERE merchant_id = $merchant AND scenario = $scenario AND dimension = $dimension AND day <= $until
GROUP BY value, currency
ORDER BY mrr DESC, value, currency
