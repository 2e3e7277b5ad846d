-- MRR by product, price, plan interval, country, currency, cohort, or one of the merchant's own dimensions of customers,
-- between two days: start, movements, end.
-- The slices add up to the whole, per currency and to the cent; transfers between slices sum to zero.
--
-- Amounts in minor units of each row's currency; `reported` is MRR in those of the reporting one, at the last day's rate
-- (NULL while there is none), converted slice by slice. Of an own dimension, customers without it are one slice, NULL.
-- $merchant TEXT: whose
-- $scenario TEXT = live: by which settings
-- $by TEXT = product: product, price, plan_interval, country, currency, cohort, or a dimension such as `segment`
-- $since DATE: first day
-- $until DATE: last day
-- $product TEXT = NULL: of one product only
-- $price TEXT = NULL: of one price only
-- $plan_interval TEXT = NULL: of prices per `month`, `year`, `3 months`, …
-- $country TEXT = NULL: of customers of one country only
-- $cohort DATE = NULL: of customers who began in one month only (its first day)
-- $of_currency TEXT = NULL: of one currency only
-- $dimension TEXT = NULL: of one slice only: product, price, plan_interval, country, cohort, currency, or one of the
--   merchant's own dimensions of customers, such as `segment`; $value says which
-- $value TEXT = NULL: which slice; `(none)`: what has none
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
asked AS (
    SELECT
        ($by NOT IN ('product', 'price', 'plan_interval', 'country', 'cohort', 'currency')
            OR $value IS NOT NULL AND coalesce($dimension, 'product') NOT IN (
                'product', 'price', 'plan_interval', 'country', 'cohort', 'currency')) AS per_customer
),
named AS (
    SELECT customer_id, TRY_CAST(dimensions AS MAP(VARCHAR, VARCHAR)) AS named
    FROM customers
    WHERE merchant_id = $merchant AND json_type(dimensions) = 'OBJECT' AND (SELECT per_customer FROM asked)
),
moves AS (
    SELECT
        day, currency, type, amount, product_id, price_id, plan_interval, country, cohort_month,
        CAST(NULL AS MAP(VARCHAR, VARCHAR)) AS named
    FROM mrr_daily
    WHERE merchant_id = $merchant AND scenario = $scenario AND day <= $until AND NOT (SELECT per_customer FROM asked)
    UNION ALL
    SELECT
        moves.day, moves.currency, moves.type, moves.amount, moves.product_id, moves.price_id, moves.plan_interval,
        moves.country, moves.cohort_month, named.named
    FROM mrr_movements AS moves
    LEFT JOIN named ON named.customer_id = moves.customer_id
    WHERE moves.merchant_id = $merchant AND moves.scenario = $scenario AND moves.day <= $until
        AND (SELECT per_customer FROM asked)
),
moved AS (
    SELECT
        CASE $by
            WHEN 'product' THEN product_id WHEN 'price' THEN price_id WHEN 'plan_interval' THEN plan_interval
            WHEN 'country' THEN country WHEN 'cohort' THEN CAST(cohort_month AS TEXT) WHEN 'currency' THEN currency
            ELSE list_extract(map_extract(named, $by), 1)
        END AS slice,
        currency, day, type, amount
    FROM moves
    WHERE ($product IS NULL OR product_id = $product) AND ($price IS NULL OR price_id = $price)
        AND ($plan_interval IS NULL OR plan_interval = $plan_interval) AND ($country IS NULL OR country = $country)
        AND ($cohort IS NULL OR cohort_month = $cohort) AND ($of_currency IS NULL OR currency = $of_currency)
        AND ($value IS NULL OR $value = coalesce(CASE $dimension
            WHEN 'product' THEN product_id WHEN 'price' THEN price_id WHEN 'plan_interval' THEN plan_interval
            WHEN 'country' THEN country WHEN 'cohort' THEN CAST(cohort_month AS TEXT) WHEN 'currency' THEN currency
            ELSE list_extract(map_extract(named, $dimension), 1)
        END, '(none)'))
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
    (SELECT coalesce(strftime(set_at, 'set %Y-%m-%d %H:%M'), 'defaults') FROM scenarios
     WHERE merchant_id = $merchant AND scenario = $scenario) AS definition
FROM summed
CROSS JOIN chosen
LEFT JOIN rates ON rates.currency = summed.currency
ORDER BY reported DESC NULLS LAST, mrr DESC, slice, currency
