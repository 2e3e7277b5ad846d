-- The trials behind a number: each that started or ended between two days, newest first, and what became of it.
--
-- One row per start or end and item of the subscription at that moment.
-- $merchant TEXT: whose
-- $scenario TEXT = live: by which settings
-- $since DATE: first day
-- $until DATE: last day
-- $event TEXT = NULL: started, ended, converted, paused or cancelled only
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
-- $rows INTEGER = 1000: how many
WITH turned AS (
    SELECT
        subscription_id, customer_id, since AS turned_at, since AS item_at, 'started' AS event, '' AS outcome
    FROM subscription_stretches
    WHERE merchant_id = $merchant AND standing = 'trialing' AND before_standing IS DISTINCT FROM 'trialing'
    UNION ALL
    SELECT
        subscription_id, customer_id, until AS turned_at, until - INTERVAL 1 MICROSECOND AS item_at, 'ended' AS event,
        CASE WHEN after_standing IN ('active', 'past_due') THEN 'converted'
            WHEN after_standing = 'paused' THEN 'paused' ELSE 'cancelled' END AS outcome
    FROM subscription_stretches
    WHERE merchant_id = $merchant AND standing = 'trialing' AND until < TIMESTAMP '9999-12-31'
        AND after_standing IS DISTINCT FROM 'trialing'
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
),
goods AS (
    SELECT
        price_id, product_id, currency,
        CASE WHEN interval_count = 1 THEN interval
            ELSE CAST(interval_count AS VARCHAR) || ' ' || interval || 's' END AS plan_interval
    FROM prices
    WHERE merchant_id = $merchant
),
trials AS (
    SELECT
        turned.subscription_id, turned.customer_id, turned.turned_at, turned.event, turned.outcome,
        timezone(scenarios.time_zone, timezone('UTC', turned.turned_at)) AS local_at,
        items.price_id, goods.product_id, goods.plan_interval, goods.currency, people.country, people.cohort_month,
        people.named, people.name
    FROM turned
    JOIN scenarios ON scenarios.merchant_id = $merchant AND scenarios.scenario = $scenario
    LEFT JOIN people ON people.customer_id = turned.customer_id
    LEFT JOIN item_stretches AS items
        ON items.merchant_id = $merchant AND items.subscription_id = turned.subscription_id
        AND items.since <= turned.item_at AND turned.item_at < items.until
    LEFT JOIN goods ON goods.price_id = items.price_id
)
SELECT
    turned_at, local_at, event, outcome, customer_id, name, country, subscription_id, price_id, product_id,
    plan_interval, currency,
    (SELECT coalesce(strftime(set_at, 'set %Y-%m-%d %H:%M'), 'defaults') FROM scenarios
     WHERE merchant_id = $merchant AND scenario = $scenario) AS definition
FROM trials
WHERE CAST(local_at AS DATE) BETWEEN $since AND $until AND ($event IS NULL OR event = $event OR outcome = $event)
    AND ($product IS NULL OR product_id = $product) AND ($price IS NULL OR price_id = $price)
    AND ($plan_interval IS NULL OR plan_interval = $plan_interval) AND ($country IS NULL OR country = $country)
    AND ($cohort IS NULL OR cohort_month = $cohort) AND ($of_currency IS NULL OR currency = $of_currency)
    AND ($value IS NULL OR $value = coalesce(CASE $dimension
        WHEN 'product' THEN product_id WHEN 'price' THEN price_id WHEN 'plan_interval' THEN plan_interval
        WHEN 'country' THEN country WHEN 'cohort' THEN CAST(cohort_month AS TEXT) WHEN 'currency' THEN currency
        ELSE list_extract(map_extract(named, $dimension), 1)
    END, '(none)'))
    AND ($slice IS NULL OR $slice = coalesce(CASE $by
        WHEN 'product' THEN product_id WHEN 'price' THEN price_id WHEN 'plan_interval' THEN plan_interval
        WHEN 'country' THEN country WHEN 'cohort' THEN CAST(cohort_month AS TEXT) WHEN 'currency' THEN currency
        ELSE list_extract(map_extract(named, $by), 1)
    END, '(none)'))
ORDER BY turned_at DESC, subscription_id, price_id, event
LIMIT $rows
