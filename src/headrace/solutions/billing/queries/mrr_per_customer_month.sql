-- MRR of each customer at the end of each month, for export. Minor units.
-- $merchant TEXT: whose
-- $scenario TEXT = live: by which settings
-- $since DATE: first month
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
WITH asked AS (
    SELECT $value IS NOT NULL AND coalesce($dimension, 'product') NOT IN (
        'product', 'price', 'plan_interval', 'country', 'cohort', 'currency') AS per_customer
),
named AS (
    SELECT customer_id, TRY_CAST(dimensions AS MAP(VARCHAR, VARCHAR)) AS named
    FROM customers
    WHERE merchant_id = $merchant AND json_type(dimensions) = 'OBJECT' AND (SELECT per_customer FROM asked)
),
flows AS (
    SELECT
        moves.customer_id, moves.currency,
        greatest(CAST(date_trunc('month', moves.day) AS DATE), CAST(date_trunc('month', $since) AS DATE))
            AS month, sum(moves.amount) AS amount
    FROM mrr_movements AS moves
    LEFT JOIN named ON named.customer_id = moves.customer_id
    WHERE moves.merchant_id = $merchant AND moves.scenario = $scenario AND moves.day <= $until
        AND ($product IS NULL OR moves.product_id = $product) AND ($price IS NULL OR moves.price_id = $price)
        AND ($plan_interval IS NULL OR moves.plan_interval = $plan_interval)
        AND ($country IS NULL OR moves.country = $country)
        AND ($cohort IS NULL OR moves.cohort_month = $cohort)
        AND ($of_currency IS NULL OR moves.currency = $of_currency)
        AND ($value IS NULL OR $value = coalesce(CASE $dimension
            WHEN 'product' THEN moves.product_id WHEN 'price' THEN moves.price_id
            WHEN 'plan_interval' THEN moves.plan_interval
            WHEN 'country' THEN moves.country WHEN 'cohort' THEN CAST(moves.cohort_month AS TEXT)
            WHEN 'currency' THEN moves.currency
            ELSE list_extract(map_extract(named.named, $dimension), 1)
        END, '(none)'))
    GROUP BY 1, 2, 3
),
months AS (
    SELECT CAST(month AS DATE) AS month
    FROM generate_series(
        date_trunc('month', CAST($since AS TIMESTAMP)), CAST($until AS TIMESTAMP), INTERVAL 1 MONTH) AS series(month)
),
cells AS (
    SELECT known.customer_id, known.currency, months.month
    FROM (SELECT customer_id, currency, min(month) AS month FROM flows GROUP BY customer_id, currency) AS known
    JOIN months ON months.month >= known.month
),
held AS (
    SELECT
        cells.month, cells.customer_id, cells.currency,
        CAST(sum(coalesce(flows.amount, 0)) OVER (
            PARTITION BY cells.customer_id, cells.currency ORDER BY cells.month) AS BIGINT) AS mrr
    FROM cells
    LEFT JOIN flows
        ON flows.customer_id = cells.customer_id AND flows.currency = cells.currency AND flows.month = cells.month
)
SELECT month, customer_id, currency, mrr
FROM held
WHERE mrr <> 0
ORDER BY month, customer_id, currency
