-- Customers with MRR at the end of a day, the largest first; `mrr` in minor units of the customer's currency, `reported`
-- in those of the reporting one, by the rate that the settings name (NULL while there is none).
-- $merchant TEXT: whose
-- $scenario TEXT = live: by which settings
-- $day DATE: as of the end of which day
-- $product TEXT = NULL: of one product only
-- $price TEXT = NULL: of one price only
-- $plan_interval TEXT = NULL: of prices per `month`, `year`, `3 months`, …
-- $country TEXT = NULL: of customers of one country only
-- $cohort DATE = NULL: of customers who began in one month only (its first day)
-- $of_currency TEXT = NULL: of one currency only
-- $dimension TEXT = NULL: of one slice only: product, price, plan_interval, country, cohort, currency, or one of the
--   merchant's own dimensions of customers, such as `segment`; $value says which
-- $value TEXT = NULL: which slice; `(none)`: what has none
-- $by TEXT = product: by what `$slice` is a slice, as `$dimension`
-- $slice TEXT = NULL: and of one slice only; `(none)`: what has none
-- $find TEXT = NULL: whose id or name holds these letters
-- $rows INTEGER = 1000: how many
WITH asked AS (
    SELECT
        ($slice IS NOT NULL AND $by NOT IN ('product', 'price', 'plan_interval', 'country', 'cohort', 'currency')
            OR $value IS NOT NULL AND coalesce($dimension, 'product') NOT IN (
                'product', 'price', 'plan_interval', 'country', 'cohort', 'currency')) AS per_customer
),
named AS (
    SELECT customer_id, TRY_CAST(dimensions AS MAP(VARCHAR, VARCHAR)) AS named
    FROM customers
    WHERE merchant_id = $merchant AND json_type(dimensions) = 'OBJECT' AND (SELECT per_customer FROM asked)
),
chosen AS (
    SELECT
        reporting_currency AS reporting,
        CASE rate_rule WHEN 'day' THEN $day WHEN 'previous_day' THEN $day - 1 ELSE DATE '9999-12-30' END AS rate_day
    FROM scenarios
    WHERE merchant_id = $merchant AND scenario = $scenario
),
rates AS (
    SELECT rates.currency, arg_max(rates.up, rates.day_from) AS up, arg_max(rates.down, rates.day_from) AS down
    FROM conversion_rates AS rates
    JOIN chosen ON chosen.reporting = rates.reporting AND rates.day_from <= chosen.rate_day
    GROUP BY rates.currency
)
SELECT
    held.customer_id, customers.name, customers.country, held.currency, held.mrr,
    CASE WHEN held.currency = chosen.reporting THEN held.mrr
        ELSE CAST(sign(held.mrr) * ((2 * CAST(abs(held.mrr) AS HUGEINT) * rates.up + rates.down) // (2 * rates.down))
            AS BIGINT) END AS reported,
    chosen.reporting, held.since, held.changed_at,
    (SELECT coalesce(strftime(set_at, 'set %Y-%m-%d %H:%M'), 'defaults') FROM scenarios
     WHERE merchant_id = $merchant AND scenario = $scenario) AS definition
FROM (
    SELECT
        moves.customer_id, moves.currency, CAST(sum(moves.amount) AS BIGINT) AS mrr, min(moves.local_at) AS since,
        max(moves.local_at) AS changed_at
    FROM mrr_movements AS moves
    LEFT JOIN named ON named.customer_id = moves.customer_id
    WHERE moves.merchant_id = $merchant AND moves.scenario = $scenario AND moves.day <= $day
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
        AND ($slice IS NULL OR $slice = coalesce(CASE $by
            WHEN 'product' THEN moves.product_id WHEN 'price' THEN moves.price_id
            WHEN 'plan_interval' THEN moves.plan_interval
            WHEN 'country' THEN moves.country WHEN 'cohort' THEN CAST(moves.cohort_month AS TEXT)
            WHEN 'currency' THEN moves.currency
            ELSE list_extract(map_extract(named.named, $by), 1)
        END, '(none)'))
    GROUP BY moves.customer_id, moves.currency
) AS held
CROSS JOIN chosen
LEFT JOIN rates ON rates.currency = held.currency
LEFT JOIN customers ON customers.merchant_id = $merchant AND customers.customer_id = held.customer_id
WHERE held.mrr <> 0
    AND ($find IS NULL OR customers.name ILIKE '%' || $find || '%' OR held.customer_id ILIKE '%' || $find || '%')
ORDER BY reported DESC NULLS LAST, held.mrr DESC, held.customer_id, held.currency
LIMIT $rows
