-- MRR by product, price, plan interval, country, currency, cohort, or one of the merchant's own dimensions of customers,
-- between two days: start, movements, end.
-- The slices add up to the whole, per currency and to the cent; transfers between slices sum to zero.
--
-- Amounts in minor units of each row's currency; `reported` is MRR in those of the reporting one, at the last day's rate
-- (NULL while there is none), converted slice by slice. Of an own dimension, customers without it are one slice, NULL.
-- $merchant TEXT: whose
-- $scenario TEXT = live IN (live, {scenario_choices}): by which settings
-- $by TEXT = product IN (product, price, plan_interval, country, cohort, currency, {own_dimensions}): by what; one of the merchant's own dimensions, such as `segment`, too
-- $since DATE BETWEEN 1970-01-01 AND 2099-12-31: first day
-- $until DATE BETWEEN 1970-01-01 AND 2099-12-31: last day
WITH chosen AS (
    SELECT
        reporting_currency AS reporting,
        CASE rate_rule WHEN 'day' THEN $until WHEN 'previous_day' THEN $until - 1 ELSE DATE '9999-12-30' END AS rate_day
    FROM scenarios
    WHERE merchant_id = $merchant AND scenario = $scenario
),
rates AS (
    SELECT rates.currency, arg_max(rates.up, rates.day_from) AS up, arg_max(rates.down, rates.day_from) AS down
    FROM conversion_rates AS rates
    JOIN chosen ON chosen.reporting = rates.reporting AND rates.day_from <= chosen.rate_day
    GROUP BY rates.currency
),
named AS (
    SELECT * FROM {names} AS names WHERE {by_customer}
),
moves AS (
    SELECT
        day, currency, type, amount, product_id, price_id, plan_interval, country, cohort_month,
        CAST(NULL AS MAP(VARCHAR, VARCHAR)) AS named
    FROM mrr_daily
    WHERE merchant_id = $merchant AND scenario = $scenario AND day <= $until AND NOT {by_customer}
    UNION ALL
    SELECT
        moves.day, moves.currency, moves.type, moves.amount, moves.product_id, moves.price_id, moves.plan_interval,
        moves.country, moves.cohort_month, named.named
    FROM mrr_movements AS moves
    LEFT JOIN named ON named.customer_id = moves.customer_id
    WHERE moves.merchant_id = $merchant AND moves.scenario = $scenario AND moves.day <= $until
        AND {by_customer}
),
moved AS (
    SELECT
        {sliced} AS slice,
        currency, day, type, amount
    FROM moves
    WHERE {filtered}
),
summed AS (
    SELECT
        slice,
        currency,
        CAST(coalesce(sum(amount) FILTER (WHERE day < $since), 0) AS BIGINT) AS start_mrr,
        CAST(coalesce(sum(amount) FILTER (WHERE day >= $since AND type = 'new'), 0) AS BIGINT) AS new_mrr,
        CAST(coalesce(sum(amount) FILTER (WHERE day >= $since AND type = 'reactivation'), 0) AS BIGINT)
            AS reactivation_mrr,
        CAST(coalesce(sum(amount) FILTER (WHERE day >= $since AND type = 'expansion'), 0) AS BIGINT) AS expansion_mrr,
        CAST(coalesce(sum(amount) FILTER (WHERE day >= $since AND type = 'contraction'), 0) AS BIGINT)
            AS contraction_mrr,
        CAST(coalesce(sum(amount) FILTER (WHERE day >= $since AND type = 'churn'), 0) AS BIGINT) AS churned_mrr,
        CAST(coalesce(sum(amount) FILTER (WHERE day >= $since AND type = 'transfer in'), 0) AS BIGINT)
            AS transfer_in_mrr,
        CAST(coalesce(sum(amount) FILTER (WHERE day >= $since AND type = 'transfer out'), 0) AS BIGINT)
            AS transfer_out_mrr,
        CAST(sum(amount) AS BIGINT) AS mrr
    FROM (
        SELECT slice, currency, day, type, sum(amount) AS amount
        FROM moved
        GROUP BY slice, currency, day, type
        HAVING slice IS NOT NULL OR sum(amount) <> 0
    )
    GROUP BY slice, currency
)
SELECT
    summed.*,
    CASE WHEN summed.currency = chosen.reporting THEN summed.mrr
        ELSE CAST(sign(summed.mrr) * ((2 * CAST(abs(summed.mrr)
            AS HUGEINT) * rates.up + rates.down) // (2 * rates.down))
            AS BIGINT) END AS reported,
    chosen.reporting,
    coalesce(summed.slice, '(none)') AS part,
    CASE $by WHEN 'product' THEN (
        SELECT name FROM products WHERE products.merchant_id = $merchant AND products.product_id = slice) END AS name,
    {definition} AS definition
FROM summed
CROSS JOIN chosen
LEFT JOIN rates ON rates.currency = summed.currency
ORDER BY reported DESC NULLS LAST, mrr DESC, slice, currency
