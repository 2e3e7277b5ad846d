-- Retention by cohort: of the customers who first had MRR in a month, how many still (or again) have it at the end of
-- that month and of each month after, and how much of the MRR of their first month's end is left.
--
-- Grain: one row per cohort month and months since, and currency of the MRR. subscribers counts customers whatever
-- their currency. MRR is in minor units.
-- $merchant TEXT: whose
-- $scenario TEXT = live: by which settings
-- $until DATE: last day; its month counts as far as it has come
-- $months INTEGER = 24: how many months to follow
-- $country TEXT = NULL: of customers of one country only
WITH turns AS (
    SELECT
        cohort_month, CAST(date_trunc('month', day) AS DATE) AS month,
        sum(CASE type WHEN 'churn' THEN -customers ELSE customers END) AS customers
    FROM subscribers_daily
    WHERE merchant_id = $merchant AND scenario = $scenario AND day <= $until
        AND ($country IS NULL OR country = $country)
    GROUP BY 1, 2
),
flows AS (
    SELECT cohort_month, currency, CAST(date_trunc('month', day) AS DATE) AS month, sum(amount) AS amount
    FROM mrr_daily
    WHERE merchant_id = $merchant AND scenario = $scenario AND day <= $until
        AND ($country IS NULL OR country = $country)
    GROUP BY 1, 2, 3
),
cells AS (
    SELECT known.cohort_month, known.currency, nth.months, known.cohort_month + to_months(nth.months) AS month
    FROM (SELECT DISTINCT cohort_month, currency FROM flows) AS known
    CROSS JOIN (SELECT CAST(months AS INTEGER) AS months FROM range($months + 1) AS series(months)) AS nth
    WHERE known.cohort_month + to_months(nth.months) <= $until
),
running AS (
    SELECT
        cells.cohort_month, cells.currency, cells.months,
        CAST(sum(coalesce(flows.amount, 0)) OVER course AS BIGINT) AS mrr,
        CAST(sum(coalesce(turns.customers, 0)) OVER course AS BIGINT) AS subscribers
    FROM cells
    LEFT JOIN flows
        ON flows.cohort_month = cells.cohort_month AND flows.currency = cells.currency AND flows.month = cells.month
    LEFT JOIN turns ON turns.cohort_month = cells.cohort_month AND turns.month = cells.month
    WINDOW course AS (PARTITION BY cells.cohort_month, cells.currency ORDER BY cells.months)
),
sizes AS (
    SELECT cohort_month, sum(customers) AS size
    FROM subscribers_daily
    WHERE merchant_id = $merchant AND scenario = $scenario AND day <= $until AND type = 'new'
        AND CAST(date_trunc('month', day) AS DATE) = cohort_month AND ($country IS NULL OR country = $country)
    GROUP BY cohort_month
)
SELECT
    running.cohort_month, running.months, running.currency,
    CAST(sizes.size AS BIGINT) AS cohort_size,
    running.subscribers,
    running.subscribers / nullif(sizes.size, 0) AS subscriber_retention,
    running.mrr,
    running.mrr / nullif(first_value(running.mrr) OVER (
        PARTITION BY running.cohort_month, running.currency ORDER BY running.months), 0) AS revenue_retention,
    strftime(running.cohort_month, '%Y-%m')
        || CASE WHEN min(running.currency) OVER () <> max(running.currency) OVER () THEN ' ' || running.currency
            ELSE '' END AS cohort,
    strftime(running.cohort_month, '%Y-%m') AS month,
    row_number() OVER (PARTITION BY running.cohort_month, running.months ORDER BY running.currency) = 1 AS is_first,
    (SELECT coalesce(strftime(set_at, 'set %Y-%m-%d %H:%M'), 'defaults') FROM scenarios
     WHERE merchant_id = $merchant AND scenario = $scenario) AS definition
FROM running
LEFT JOIN sizes ON sizes.cohort_month = running.cohort_month
ORDER BY running.cohort_month, running.currency, running.months
