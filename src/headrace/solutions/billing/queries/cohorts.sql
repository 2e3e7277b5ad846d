-- Retention by cohort: of the customers who first had MRR in a month, how many still (or again) have it at the end of
-- that month and of each month after, and how much of the MRR of their first month's end is left.
--
-- Grain: one row per cohort month and months since, currency of the MRR, and slice. subscribers counts customers
-- whatever their currency; of slices by product, price, interval or currency, those who have MRR in it, whose cohort is that
-- of their first MRR anywhere. MRR is in minor units.
-- $merchant TEXT: whose
-- $scenario TEXT = live: by which settings
-- $until DATE: last day; its month counts as far as it has come
-- $months INTEGER = 24: how many months to follow
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
                'product', 'price', 'plan_interval', 'country', 'cohort', 'currency')) AS per_customer,
        ($product IS NOT NULL OR $price IS NOT NULL OR $plan_interval IS NOT NULL OR $of_currency IS NOT NULL
            OR coalesce($by IN ('product', 'price', 'plan_interval', 'currency'), FALSE)
            OR $value IS NOT NULL AND coalesce($dimension IN ('product', 'price', 'plan_interval', 'currency'), FALSE)) AS per_item
),
named AS (
    SELECT customer_id, TRY_CAST(dimensions AS MAP(VARCHAR, VARCHAR)) AS named
    FROM customers
    WHERE merchant_id = $merchant AND json_type(dimensions) = 'OBJECT' AND (SELECT per_customer FROM asked)
),
moves AS (
    SELECT
        CAST(NULL AS TEXT) AS customer_id, CAST(NULL AS TIMESTAMP) AS happened_at, day, currency, amount, product_id,
        price_id, plan_interval, country, cohort_month, CAST(NULL AS MAP(VARCHAR, VARCHAR)) AS named
    FROM mrr_daily
    WHERE merchant_id = $merchant AND scenario = $scenario AND day <= $until
        AND NOT (SELECT per_customer OR per_item FROM asked)
    UNION ALL
    SELECT
        moves.customer_id, moves.happened_at, moves.day, moves.currency, moves.amount, moves.product_id, moves.price_id,
        moves.plan_interval, moves.country, moves.cohort_month, named.named
    FROM mrr_movements AS moves
    LEFT JOIN named ON named.customer_id = moves.customer_id
    WHERE moves.merchant_id = $merchant AND moves.scenario = $scenario AND moves.day <= $until
        AND (SELECT per_customer OR per_item FROM asked)
),
moved AS (
    SELECT
        CASE $by
            WHEN 'product' THEN product_id WHEN 'price' THEN price_id WHEN 'plan_interval' THEN plan_interval
            WHEN 'country' THEN country WHEN 'cohort' THEN CAST(cohort_month AS TEXT) WHEN 'currency' THEN currency
            ELSE list_extract(map_extract(named, $by), 1)
        END AS slice,
        customer_id, happened_at, cohort_month, currency, CAST(date_trunc('month', day) AS DATE) AS month,
        sum(amount) AS amount
    FROM moves
    WHERE ($product IS NULL OR product_id = $product) AND ($price IS NULL OR price_id = $price)
        AND ($plan_interval IS NULL OR plan_interval = $plan_interval) AND ($country IS NULL OR country = $country)
        AND ($cohort IS NULL OR cohort_month = $cohort) AND ($of_currency IS NULL OR currency = $of_currency)
        AND ($value IS NULL OR $value = coalesce(CASE $dimension
            WHEN 'product' THEN product_id WHEN 'price' THEN price_id WHEN 'plan_interval' THEN plan_interval
            WHEN 'country' THEN country WHEN 'cohort' THEN CAST(cohort_month AS TEXT) WHEN 'currency' THEN currency
            ELSE list_extract(map_extract(named, $dimension), 1)
        END, '(none)'))
    GROUP BY ALL
),
runs AS (
    SELECT
        slice, cohort_month, month, amount,
        sum(amount) OVER course AS after,
        row_number() OVER course AS nth
    FROM (
        SELECT slice, customer_id, happened_at, cohort_month, min(month) AS month, sum(amount) AS amount
        FROM moved
        WHERE (SELECT per_customer OR per_item FROM asked)
        GROUP BY slice, customer_id, happened_at, cohort_month
        HAVING sum(amount) <> 0
    ) AS moments
    WINDOW course AS (PARTITION BY slice, customer_id ORDER BY happened_at)
),
turned AS (
    SELECT
        slice, cohort_month, month, CASE WHEN after = 0 THEN -1 ELSE 1 END AS net,
        CASE WHEN nth = 1 AND month = cohort_month THEN 1 ELSE 0 END AS began
    FROM runs
    WHERE after = 0 OR after = amount
    UNION ALL
    SELECT
        CASE $by WHEN 'country' THEN country WHEN 'cohort' THEN CAST(cohort_month AS TEXT) END AS slice, cohort_month,
        CAST(date_trunc('month', day) AS DATE) AS month,
        CASE type WHEN 'churn' THEN -customers ELSE customers END AS net,
        CASE WHEN type = 'new'
            AND CAST(date_trunc('month', day) AS DATE) = cohort_month THEN customers ELSE 0 END AS began
    FROM subscribers_daily
    WHERE merchant_id = $merchant AND scenario = $scenario AND day <= $until
        AND NOT (SELECT per_customer OR per_item FROM asked)
        AND ($country IS NULL OR country = $country) AND ($cohort IS NULL OR cohort_month = $cohort)
        AND ($value IS NULL OR $value = coalesce(CASE $dimension
            WHEN 'country' THEN country WHEN 'cohort' THEN CAST(cohort_month AS TEXT) END, '(none)'))
),
turns AS (
    SELECT slice, cohort_month, month, sum(net) AS customers FROM turned GROUP BY slice, cohort_month, month
),
flows AS (
    SELECT slice, cohort_month, currency, month, sum(amount)
        AS amount FROM moved GROUP BY slice, cohort_month, currency, month
),
cells AS (
    SELECT
        known.slice, known.cohort_month, known.currency, nth.months,
        known.cohort_month + to_months(nth.months) AS month
    FROM (SELECT DISTINCT slice, cohort_month, currency FROM flows) AS known
    CROSS JOIN (SELECT CAST(months AS INTEGER) AS months FROM range($months + 1) AS series(months)) AS nth
    WHERE known.cohort_month + to_months(nth.months) <= $until
),
running AS (
    SELECT
        cells.slice, cells.cohort_month, cells.currency, cells.months,
        CAST(sum(coalesce(flows.amount, 0)) OVER course AS BIGINT) AS mrr,
        CAST(sum(coalesce(turns.customers, 0)) OVER course AS BIGINT) AS subscribers
    FROM cells
    LEFT JOIN flows
        ON flows.cohort_month = cells.cohort_month AND flows.currency = cells.currency AND flows.month = cells.month
        AND flows.slice IS NOT DISTINCT FROM cells.slice
    LEFT JOIN turns
        ON turns.cohort_month = cells.cohort_month AND turns.month = cells.month
        AND turns.slice IS NOT DISTINCT FROM cells.slice
    WINDOW course AS (PARTITION BY cells.slice, cells.cohort_month, cells.currency ORDER BY cells.months)
),
sizes AS (
    SELECT slice, cohort_month, sum(began) AS size FROM turned GROUP BY slice, cohort_month
)
SELECT
    running.cohort_month, running.months, running.currency,
    CAST(sizes.size AS BIGINT) AS cohort_size,
    running.subscribers,
    running.subscribers / nullif(sizes.size, 0) AS subscriber_retention,
    running.mrr,
    running.mrr / nullif(first_value(running.mrr) OVER (
        PARTITION BY running.slice, running.cohort_month, running.currency ORDER BY running.months), 0)
        AS revenue_retention,
    strftime(running.cohort_month, '%Y-%m')
        || CASE WHEN min(running.currency) OVER () <> max(running.currency) OVER () THEN ' ' || running.currency
            ELSE '' END AS cohort,
    strftime(running.cohort_month, '%Y-%m') AS month,
    least(CAST(running.cohort_month + to_months(running.months + 1) AS DATE) - 1, $until) AS last_day,
    row_number() OVER (
        PARTITION BY running.slice, running.cohort_month, running.months ORDER BY running.currency) = 1 AS is_first,
    (SELECT coalesce(strftime(set_at, 'set %Y-%m-%d %H:%M'), 'defaults') FROM scenarios
     WHERE merchant_id = $merchant AND scenario = $scenario) AS definition,
    running.slice, CASE WHEN $by IS NOT NULL THEN coalesce(running.slice, '(none)') END AS part
FROM running
LEFT JOIN sizes ON sizes.cohort_month = running.cohort_month AND sizes.slice IS NOT DISTINCT FROM running.slice
ORDER BY running.slice, running.cohort_month, running.currency, running.months
