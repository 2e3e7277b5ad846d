-- Usage and its revenue per month, meter, product and currency: price x usage, before tax and discounts.
-- $merchant TEXT: whose
-- $scenario TEXT = live: by which settings
-- $since DATE: first month
-- $until DATE: last month
-- $meter TEXT = NULL: one meter only
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
WITH people AS (
    SELECT
        coalesce(customers.customer_id, cohorts.customer_id) AS customer_id, customers.name, customers.country,
        cohorts.cohort_month,
        CASE WHEN json_type(customers.dimensions) = 'OBJECT'
            THEN TRY_CAST(customers.dimensions AS MAP(VARCHAR, VARCHAR)) END AS named
    FROM (SELECT * FROM customers WHERE merchant_id = $merchant) AS customers
    FULL JOIN (SELECT * FROM customer_cohorts WHERE merchant_id = $merchant AND scenario = $scenario) AS cohorts
        ON cohorts.customer_id = customers.customer_id
),
goods AS (
    SELECT
        price_id, product_id, currency,
        CASE WHEN interval_count = 1 THEN interval
            ELSE CAST(interval_count AS VARCHAR) || ' ' || interval || 's' END AS plan_interval
    FROM prices
    WHERE merchant_id = $merchant
),
told AS (
    SELECT
        used.month, used.customer_id, people.name, used.meter, used.item_id, used.price_id, used.product_id,
        used.currency, used.units, used.amount, goods.plan_interval, people.country, people.cohort_month, people.named
    FROM usage_monthly AS used
    LEFT JOIN people ON people.customer_id = used.customer_id
    LEFT JOIN goods ON goods.price_id = used.price_id
    WHERE used.merchant_id = $merchant AND used.scenario = $scenario
        AND used.month BETWEEN date_trunc('month', $since) AND $until
)
SELECT
    month, meter, product_id, currency, sum(units) AS units, CAST(sum(amount) AS BIGINT) AS amount,
    count(DISTINCT customer_id) AS customers,
    CAST(month + INTERVAL 1 MONTH AS DATE) - 1 AS last_day,
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
FROM told
WHERE ($meter IS NULL OR meter = $meter)
    AND ($product IS NULL OR product_id = $product) AND ($price IS NULL OR price_id = $price)
    AND ($plan_interval IS NULL OR plan_interval = $plan_interval) AND ($country IS NULL OR country = $country)
    AND ($cohort IS NULL OR cohort_month = $cohort) AND ($of_currency IS NULL OR currency = $of_currency)
    AND ($value IS NULL OR $value = coalesce(CASE $dimension
        WHEN 'product' THEN product_id WHEN 'price' THEN price_id WHEN 'plan_interval' THEN plan_interval
        WHEN 'country' THEN country WHEN 'cohort' THEN CAST(cohort_month AS TEXT) WHEN 'currency' THEN currency
        ELSE list_extract(map_extract(named, $dimension), 1)
    END, '(none)'))
GROUP BY month, meter, product_id, currency, slice, part
ORDER BY month, meter, product_id, currency, slice
