-- Retention by cohort: of the customers who first had MRR in a month, how many still (or again) have it at the end of
-- that month and of each month after, and how much of the MRR of their first month's end is left.
--
-- Grain: one row per cohort month and months since, currency of the MRR, and slice. subscribers counts customers
-- whatever their currency; of slices by product, price, interval or currency, those who have MRR in it, whose cohort is that
-- of their first MRR anywhere. MRR is in minor units.
-- $merchant TEXT: whose
-- $scenario TEXT = live IN (live, {scenario_choices}): by which settings
-- $until DATE BETWEEN 1970-01-01 AND 2099-12-31: last day; its month counts as far as it has come
-- $months INTEGER = 24 BETWEEN 0 AND 1200: how many months to follow
WITH named AS (
    SELECT * FROM {names} AS names WHERE {by_customer}
),
moves AS (
    SELECT
        CAST(NULL AS TEXT) AS customer_id, CAST(NULL AS TIMESTAMP) AS happened_at, day, currency, amount, product_id,
        price_id, plan_interval, country, cohort_month, CAST(NULL AS MAP(VARCHAR, VARCHAR)) AS named
    FROM mrr_daily
    WHERE merchant_id = $merchant AND scenario = $scenario AND day <= $until
        AND NOT ({by_customer} OR {by_item})
    UNION ALL
    SELECT
        moves.customer_id, moves.happened_at, moves.day, moves.currency, moves.amount, moves.product_id, moves.price_id,
        moves.plan_interval, moves.country, moves.cohort_month, named.named
    FROM mrr_movements AS moves
    LEFT JOIN named ON named.customer_id = moves.customer_id
    WHERE moves.merchant_id = $merchant AND moves.scenario = $scenario AND moves.day <= $until
        AND ({by_customer} OR {by_item})
),
moved AS (
    SELECT
        {sliced} AS slice,
        customer_id, happened_at, cohort_month, currency, CAST(date_trunc('month', day) AS DATE) AS month,
        sum(amount) AS amount
    FROM moves
    WHERE {filtered}
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
        WHERE ({by_customer} OR {by_item})
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
        AND NOT ({by_customer} OR {by_item})
        AND ($country IS NULL OR country = $country) AND ($cohort IS NULL OR cohort_month = date_trunc('month', $cohort))
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
            ELSE '' END
        || CASE WHEN $by IS NOT NULL THEN ' ' || coalesce(products.name, running.slice, '(none)') ELSE '' END AS cohort,
    strftime(running.cohort_month, '%Y-%m') AS month,
    strftime(running.cohort_month, '%Y-%m')
        || CASE WHEN $by IS NOT NULL THEN ' ' || coalesce(products.name, running.slice, '(none)') ELSE '' END AS name,
    least(CAST(running.cohort_month + to_months(running.months + 1) AS DATE) - 1, $until) AS last_day,
    row_number() OVER (
        PARTITION BY running.slice, running.cohort_month, running.months ORDER BY running.currency) = 1 AS is_first,
    {definition} AS definition,
    running.slice, CASE WHEN $by IS NOT NULL THEN coalesce(running.slice, '(none)') END AS part
FROM running
LEFT JOIN sizes ON sizes.cohort_month = running.cohort_month AND sizes.slice IS NOT DISTINCT FROM running.slice
LEFT JOIN products
    ON $by = 'product' AND products.merchant_id = $merchant AND products.product_id = running.slice
ORDER BY running.slice, running.cohort_month, running.currency, running.months
