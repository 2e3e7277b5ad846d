-- MRR of each customer at the end of each month, for export. Minor units.
-- $merchant TEXT: whose
-- $scenario TEXT = live IN (live, {scenario_choices}): by which settings
-- $since DATE BETWEEN 1970-01-01 AND 2099-12-31: first month
-- $until DATE BETWEEN 1970-01-01 AND 2099-12-31: last day
WITH named AS (
    SELECT * FROM {names} AS names WHERE {by_customer(by => NULL)}
),
flows AS (
    SELECT
        moves.customer_id, moves.currency,
        greatest(CAST(date_trunc('month', moves.day) AS DATE), CAST(date_trunc('month', $since) AS DATE))
            AS month, sum(moves.amount) AS amount
    FROM mrr_movements AS moves
    LEFT JOIN named ON named.customer_id = moves.customer_id
    WHERE moves.merchant_id = $merchant AND moves.scenario = $scenario AND moves.day <= $until
        AND {filtered}
    GROUP BY 1, 2, 3
),
months AS (
    SELECT CAST(month AS DATE) AS month
    FROM generate_series(
        date_trunc('month', CAST($since AS TIMESTAMP)), CAST($until AS TIMESTAMP), INTERVAL 1 MONTH) AS series(month)
),
cells AS (
    SELECT known.customer_id, known.currency, months.month
    FROM (SELECT customer_id, currency, min(month) AS month FROM flows GROUP BY customer_id, currency) AS known
    JOIN months ON months.month >= known.month
),
held AS (
    SELECT
        cells.month, cells.customer_id, cells.currency,
        CAST(sum(coalesce(flows.amount, 0)) OVER (
            PARTITION BY cells.customer_id, cells.currency ORDER BY cells.month) AS BIGINT) AS mrr
    FROM cells
    LEFT JOIN flows
        ON flows.customer_id = cells.customer_id AND flows.currency = cells.currency AND flows.month = cells.month
)
SELECT month, customer_id, currency, mrr
FROM held
WHERE mrr <> 0
ORDER BY month, customer_id, currency
