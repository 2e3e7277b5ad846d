-- Customers and MRR lost because payments failed, beside all that was lost, per currency.
-- $merchant TEXT: whose
-- $scenario TEXT = live: by which settings
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
-- $by TEXT = NULL: a row for each slice, named in `slice` (in `part`, as `$value` takes it), by what `$dimension` may be; NULL: one for all
WITH asked AS (
    SELECT
        (coalesce($by, 'product') NOT IN ('product', 'price', 'plan_interval', 'country', 'cohort', 'currency')
            OR $value IS NOT NULL AND coalesce($dimension, 'product') NOT IN (
                'product', 'price', 'plan_interval', 'country', 'cohort', 'currency')) AS per_customer
),
named AS (
    SELECT customer_id, TRY_CAST(dimensions AS MAP(VARCHAR, VARCHAR)) AS named
    FROM customers
    WHERE merchant_id = $merchant AND json_type(dimensions) = 'OBJECT' AND (SELECT per_customer FROM asked)
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
    (SELECT coalesce(strftime(set_at, 'set %Y-%m-%d %H:%M'), 'defaults') FROM scenarios
     WHERE merchant_id = $merchant AND scenario = $scenario) AS definition,
    CASE $by
        WHEN 'product' THEN product_id WHEN 'price' THEN price_id WHEN 'plan_interval' THEN plan_interval
        WHEN 'country' THEN country WHEN 'cohort' THEN CAST(cohort_month AS TEXT) WHEN 'currency' THEN currency
        ELSE list_extract(map_extract(named, $by), 1)
    END AS slice,
    CASE WHEN $by IS NOT NULL THEN coalesce(CASE $by
            WHEN 'product' THEN product_id WHEN 'price' THEN price_id WHEN 'plan_interval' THEN plan_interval
            WHEN 'country' THEN country WHEN 'cohort' THEN CAST(cohort_month AS TEXT) WHEN 'currency' THEN currency
            ELSE list_extract(map_extract(named, $by), 1)
        END, '(none)') END AS part
FROM held
WHERE ($product IS NULL OR product_id = $product) AND ($price IS NULL OR price_id = $price)
    AND ($plan_interval IS NULL OR plan_interval = $plan_interval) AND ($country IS NULL OR country = $country)
    AND ($cohort IS NULL OR cohort_month = $cohort) AND ($of_currency IS NULL OR currency = $of_currency)
    AND ($value IS NULL OR $value = coalesce(CASE $dimension
        WHEN 'product' THEN product_id WHEN 'price' THEN price_id WHEN 'plan_interval' THEN plan_interval
        WHEN 'country' THEN country WHEN 'cohort' THEN CAST(cohort_month AS TEXT) WHEN 'currency' THEN currency
        ELSE list_extract(map_extract(named, $dimension), 1)
    END, '(none)'))
GROUP BY currency, slice, part
ORDER BY slice, currency
