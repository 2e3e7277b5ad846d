-- Usage per meter and day, from the first day to the last; 0 on days without any.
--
-- Usage is of the product, price, interval and currency of the metered item that the customer had then; of none, where it
-- had none.
-- $merchant TEXT: whose
-- $scenario TEXT = live: by which settings
-- $since DATE: first day
-- $until DATE: last day
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
WITH asked AS (
    SELECT
        $by IS NULL AND $value IS NULL AND $product IS NULL AND $price IS NULL AND $plan_interval IS NULL
            AND $country IS NULL AND $cohort IS NULL AND $of_currency IS NULL AS kept,
        ($product IS NOT NULL OR $price IS NOT NULL OR $plan_interval IS NOT NULL OR $of_currency IS NOT NULL
            OR coalesce($by IN ('product', 'price', 'plan_interval', 'currency'), FALSE)
            OR $value IS NOT NULL AND coalesce($dimension IN ('product', 'price', 'plan_interval', 'currency'), FALSE)) AS per_item
),
people AS (
    SELECT
        coalesce(customers.customer_id, cohorts.customer_id) AS customer_id, customers.name, customers.country,
        cohorts.cohort_month,
        CASE WHEN json_type(customers.dimensions) = 'OBJECT'
            THEN TRY_CAST(customers.dimensions AS MAP(VARCHAR, VARCHAR)) END AS named
    FROM (SELECT * FROM customers WHERE merchant_id = $merchant) AS customers
    FULL JOIN (SELECT * FROM customer_cohorts WHERE merchant_id = $merchant AND scenario = $scenario) AS cohorts
        ON cohorts.customer_id = customers.customer_id
    WHERE NOT (SELECT kept FROM asked)
),
goods AS (
    SELECT
        price_id, product_id, currency,
        CASE WHEN interval_count = 1 THEN interval
            ELSE CAST(interval_count AS VARCHAR) || ' ' || interval || 's' END AS plan_interval
    FROM prices
    WHERE merchant_id = $merchant
),
metered AS (
    SELECT
        standings.customer_id, coalesce(meters.event_name, prices.meter) AS meter, items.price_id, goods.product_id,
        goods.plan_interval, goods.currency,
        greatest(items.since, standings.since) AS since, least(items.until, standings.until) AS until
    FROM item_stretches AS items
    JOIN subscription_stretches AS standings
        ON standings.merchant_id = items.merchant_id AND standings.subscription_id = items.subscription_id
        AND standings.since < items.until AND items.since < standings.until
    JOIN prices ON prices.merchant_id = items.merchant_id AND prices.price_id = items.price_id
    JOIN goods ON goods.price_id = items.price_id
    LEFT JOIN meters ON meters.merchant_id = prices.merchant_id AND meters.meter_id = prices.meter
    WHERE items.merchant_id = $merchant AND prices.usage_type = 'metered'
        AND standings.standing IN ('trialing', 'active', 'past_due', 'unpaid') AND (SELECT per_item FROM asked)
),
told AS (
    SELECT
        CAST(timezone(scenarios.time_zone, timezone('UTC', quarters.quarter)) AS DATE) AS day, quarters.meter,
        quarters.units, quarters.events, metered.price_id, metered.product_id, metered.plan_interval, metered.currency,
        people.country, people.cohort_month, people.named
    FROM usage_quarters AS quarters
    JOIN scenarios ON scenarios.merchant_id = $merchant AND scenarios.scenario = $scenario
    LEFT JOIN people ON people.customer_id = quarters.customer_id
    LEFT JOIN metered
        ON metered.customer_id = quarters.customer_id AND metered.meter = quarters.meter
        AND metered.since <= quarters.quarter AND quarters.quarter < metered.until
    WHERE quarters.merchant_id = $merchant AND NOT (SELECT kept FROM asked)
        AND quarters.quarter BETWEEN CAST($since AS TIMESTAMP) - INTERVAL 1 DAY
            AND CAST($until AS TIMESTAMP) + INTERVAL 2 DAY
),
used AS (
    SELECT
        CASE $by
            WHEN 'product' THEN product_id WHEN 'price' THEN price_id WHEN 'plan_interval' THEN plan_interval
            WHEN 'country' THEN country WHEN 'cohort' THEN CAST(cohort_month AS TEXT) WHEN 'currency' THEN currency
            ELSE list_extract(map_extract(named, $by), 1)
        END AS slice,
        day, meter, sum(units) AS units, CAST(sum(events) AS BIGINT) AS events
    FROM told
    WHERE day BETWEEN $since AND $until AND ($meter IS NULL OR meter = $meter)
        AND ($product IS NULL OR product_id = $product) AND ($price IS NULL OR price_id = $price)
        AND ($plan_interval IS NULL OR plan_interval = $plan_interval) AND ($country IS NULL OR country = $country)
        AND ($cohort IS NULL OR cohort_month = $cohort) AND ($of_currency IS NULL OR currency = $of_currency)
        AND ($value IS NULL OR $value = coalesce(CASE $dimension
            WHEN 'product' THEN product_id WHEN 'price' THEN price_id WHEN 'plan_interval' THEN plan_interval
            WHEN 'country' THEN country WHEN 'cohort' THEN CAST(cohort_month AS TEXT) WHEN 'currency' THEN currency
            ELSE list_extract(map_extract(named, $dimension), 1)
        END, '(none)'))
    GROUP BY slice, day, meter
    UNION ALL
    SELECT NULL AS slice, day, meter, units, events
    FROM usage_daily
    WHERE merchant_id = $merchant AND scenario = $scenario AND day BETWEEN $since AND $until
        AND ($meter IS NULL OR meter = $meter) AND (SELECT kept FROM asked)
)
SELECT
    CAST(days.day AS DATE) AS day, meters.meter, coalesce(used.units, 0) AS units, coalesce(used.events, 0) AS events,
    (SELECT coalesce(strftime(set_at, 'set %Y-%m-%d %H:%M'), 'defaults') FROM scenarios
     WHERE merchant_id = $merchant AND scenario = $scenario) AS definition,
    meters.slice, CASE WHEN $by IS NOT NULL THEN coalesce(meters.slice, '(none)') END AS part,
    meters.meter || CASE WHEN $by IS NOT NULL THEN ', ' || coalesce(meters.slice, '(none)') ELSE '' END AS name
FROM generate_series(CAST($since AS TIMESTAMP), CAST($until AS TIMESTAMP), INTERVAL 1 DAY) AS days(day)
CROSS JOIN (SELECT DISTINCT slice, meter FROM used) AS meters
LEFT JOIN used
    ON used.day = CAST(days.day AS DATE) AND used.meter = meters.meter AND used.slice IS NOT DISTINCT FROM meters.slice
ORDER BY days.day, meters.meter, meters.slice
