-- Customers with MRR at the end of a day, the largest first; `mrr` in minor units of the customer's currency, `reported`
-- in those of the reporting one, by the rate that the settings name (NULL while there is none).
-- $merchant TEXT: whose
-- $scenario TEXT = live: by which settings
-- $day DATE: as of the end of which day
-- $product TEXT = NULL: counting one product only
-- $country TEXT = NULL: of one country only
-- $by TEXT = product: by what `$slice` is a slice: product, price, plan_interval, country, cohort, currency, or one of the
--   merchant's own dimensions of customers
-- $slice TEXT = NULL: counting one slice only
-- $find TEXT = NULL: whose id or name holds these letters
-- $rows INTEGER = 1000: how many
WITH chosen AS (
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
        customer_id, currency, CAST(sum(amount) AS BIGINT) AS mrr, min(local_at) AS since, max(local_at) AS changed_at
    FROM mrr_movements
    WHERE merchant_id = $merchant AND scenario = $scenario AND day <= $day
        AND ($product IS NULL OR product_id = $product) AND ($country IS NULL OR country = $country)
        AND ($slice IS NULL OR $slice = CASE $by
            WHEN 'product' THEN product_id WHEN 'price' THEN price_id WHEN 'plan_interval' THEN plan_interval
            WHEN 'country' THEN country WHEN 'cohort' THEN CAST(cohort_month AS TEXT) WHEN 'currency' THEN currency
        END OR customer_id IN (
            SELECT customer_id FROM customers
            WHERE merchant_id = $merchant AND json_type(dimensions) = 'OBJECT'
                AND list_extract(map_extract(TRY_CAST(dimensions AS MAP(VARCHAR, VARCHAR)), $by), 1) = $slice
                AND $by NOT IN ('product', 'price', 'plan_interval', 'country', 'cohort', 'currency')))
    GROUP BY customer_id, currency
) AS held
CROSS JOIN chosen
LEFT JOIN rates ON rates.currency = held.currency
LEFT JOIN customers ON customers.merchant_id = $merchant AND customers.customer_id = held.customer_id
WHERE held.mrr <> 0
    AND ($find IS NULL OR customers.name ILIKE '%' || $find || '%' OR held.customer_id ILIKE '%' || $find || '%')
ORDER BY reported DESC NULLS LAST, held.mrr DESC, held.customer_id, held.currency
LIMIT $rows
