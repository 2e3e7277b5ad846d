-- The slices that there are of a dimension, for a page to choose one from; all first.
-- $merchant TEXT: whose
-- $dimension TEXT = product IN (product, price, plan_interval, country, cohort, currency, {own_dimensions}): of what
WITH found AS (
    SELECT
        CASE $dimension
            WHEN 'product' THEN prices.product_id WHEN 'price' THEN prices.price_id WHEN 'currency' THEN prices.currency
            WHEN 'plan_interval' THEN CASE WHEN prices.interval_count = 1 THEN prices.interval
                ELSE CAST(prices.interval_count AS VARCHAR) || ' ' || prices.interval || 's' END
        END AS value,
        CASE $dimension WHEN 'product' THEN products.name END AS text
    FROM prices
    LEFT JOIN products ON products.merchant_id = $merchant AND products.product_id = prices.product_id
    WHERE prices.merchant_id = $merchant AND $dimension IN ('product', 'price', 'currency', 'plan_interval')
    UNION
    SELECT CAST(cohort_month AS TEXT), strftime(cohort_month, '%Y-%m')
    FROM customer_cohorts
    WHERE merchant_id = $merchant AND scenario = 'live' AND $dimension = 'cohort'
    UNION
    SELECT
        coalesce(CASE $dimension WHEN 'country' THEN country
            ELSE list_extract(map_extract(CASE WHEN json_type(dimensions) = 'OBJECT'
                THEN TRY_CAST(dimensions AS MAP(VARCHAR, VARCHAR)) END, $dimension), 1) END, '(none)'),
        NULL
    FROM customers
    WHERE merchant_id = $merchant AND $dimension NOT IN ('product', 'price', 'currency', 'plan_interval', 'cohort')
)
SELECT value, text
FROM (
    SELECT 0 AS place, '' AS value, 'all' AS text
    UNION ALL
    SELECT 1, value, coalesce(text, value) FROM found WHERE value IS NOT NULL
)
ORDER BY place, text, value
LIMIT 1000
