-- Trials per period: started, ended, converted, and the rate of conversion (converted / ended).
--
-- A trial is of the products, prices, intervals and currencies that its subscription's items have when it starts, or ends;
-- it counts once in each slice. Customers of trials alone have no cohort yet.
-- $merchant TEXT: whose
-- $scenario TEXT = live: by which settings
-- $since DATE: first day
-- $until DATE: last day
-- $period TEXT = month: day, week, month, quarter, year, or all for one period
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
        $product IS NULL AND $price IS NULL AND $plan_interval IS NULL AND $cohort IS NULL AND $of_currency IS NULL
            AND $value IS NULL AND coalesce($by, 'country') = 'country' AS kept
),
turned AS (
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
    WHERE NOT (SELECT kept FROM asked)
),
told AS (
    SELECT DISTINCT
        CASE $by
            WHEN 'product' THEN product_id WHEN 'price' THEN price_id WHEN 'plan_interval' THEN plan_interval
            WHEN 'country' THEN country WHEN 'cohort' THEN CAST(cohort_month AS TEXT) WHEN 'currency' THEN currency
            ELSE list_extract(map_extract(named, $by), 1)
        END AS slice,
        subscription_id, turned_at, CAST(local_at AS DATE) AS day, event, outcome, 1 AS trials
    FROM trials
    WHERE ($product IS NULL OR product_id = $product) AND ($price IS NULL OR price_id = $price)
        AND ($plan_interval IS NULL OR plan_interval = $plan_interval) AND ($country IS NULL OR country = $country)
        AND ($cohort IS NULL OR cohort_month = $cohort) AND ($of_currency IS NULL OR currency = $of_currency)
        AND ($value IS NULL OR $value = coalesce(CASE $dimension
            WHEN 'product' THEN product_id WHEN 'price' THEN price_id WHEN 'plan_interval' THEN plan_interval
            WHEN 'country' THEN country WHEN 'cohort' THEN CAST(cohort_month AS TEXT) WHEN 'currency' THEN currency
            ELSE list_extract(map_extract(named, $dimension), 1)
        END, '(none)'))
    UNION ALL
    SELECT
        CASE $by WHEN 'country' THEN country END AS slice, NULL, NULL, day, event, outcome, trials
    FROM trials_daily
    WHERE merchant_id = $merchant AND scenario = $scenario AND (SELECT kept FROM asked)
        AND ($country IS NULL OR country = $country)
)
SELECT
    CASE WHEN $period = 'all' THEN $since
        ELSE CAST(date_trunc(CASE WHEN $period = 'all' THEN 'year' ELSE $period END, day) AS DATE) END AS period,
    min(day) AS first_day, max(day) AS last_day,
    CAST(coalesce(sum(trials) FILTER (WHERE event = 'started'), 0) AS BIGINT) AS started,
    CAST(coalesce(sum(trials) FILTER (WHERE event = 'ended'), 0) AS BIGINT) AS ended,
    CAST(coalesce(sum(trials) FILTER (WHERE outcome = 'converted'), 0) AS BIGINT) AS converted,
    CAST(coalesce(sum(trials) FILTER (WHERE outcome = 'paused'), 0) AS BIGINT) AS paused,
    coalesce(sum(trials) FILTER (WHERE outcome = 'converted'), 0)
        / nullif(sum(trials) FILTER (WHERE event = 'ended'), 0) AS conversion_rate,
    (SELECT coalesce(strftime(set_at, 'set %Y-%m-%d %H:%M'), 'defaults') FROM scenarios
     WHERE merchant_id = $merchant AND scenario = $scenario) AS definition,
    slice, CASE WHEN $by IS NOT NULL THEN coalesce(slice, '(none)') END AS part
FROM told
WHERE day BETWEEN $since AND $until
GROUP BY period, slice
ORDER BY period, started DESC, slice
