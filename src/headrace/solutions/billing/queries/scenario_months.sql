-- MRR at the end of each month by two scenarios' settings, per currency in minor units.
-- $merchant TEXT: whose
-- $scenario TEXT = live IN (live, {scenario_choices}): the settings in force
-- $other TEXT IN (preview, {scenario_choices}): the settings to compare with; no rows while there is no `preview`
-- $since DATE BETWEEN 1970-01-01 AND 2099-12-31: first month
-- $until DATE BETWEEN 1970-01-01 AND 2099-12-31: last day
WITH flows AS (
    SELECT
        greatest(CAST(date_trunc('month', day) AS DATE), CAST(date_trunc('month', $since) AS DATE)) AS month, currency,
        coalesce(sum(amount) FILTER (WHERE scenario = $scenario), 0) AS amount,
        coalesce(sum(amount) FILTER (WHERE scenario = $other), 0) AS other_amount
    FROM mrr_daily
    WHERE merchant_id = $merchant AND scenario IN ($scenario, $other) AND day <= $until
        AND $other IN (SELECT scenario FROM scenarios WHERE merchant_id = $merchant)
    GROUP BY 1, 2
),
months AS (
    SELECT known.currency, CAST(series.month AS DATE) AS month
    FROM (SELECT currency, min(month) AS month FROM flows GROUP BY currency) AS known
    JOIN generate_series(
        date_trunc('month', CAST($since AS TIMESTAMP)), CAST($until AS TIMESTAMP), INTERVAL 1 MONTH) AS series(month)
        ON series.month >= known.month
)
SELECT
    months.month, months.currency,
    CAST(sum(coalesce(flows.amount, 0)) OVER course AS BIGINT) AS mrr,
    CAST(sum(coalesce(flows.other_amount, 0)) OVER course AS BIGINT) AS other_mrr
FROM months
LEFT JOIN flows ON flows.month = months.month AND flows.currency = months.currency
WINDOW course AS (PARTITION BY months.currency ORDER BY months.month)
ORDER BY months.month, months.currency
