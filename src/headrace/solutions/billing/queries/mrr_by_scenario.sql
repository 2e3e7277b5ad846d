-- MRR at the end of each month by the settings of every scenario, each in minor units of its reporting currency; NULL while
-- an exchange rate is missing.
-- $merchant TEXT: whose
-- $since DATE BETWEEN 1970-01-01 AND 2099-12-31: first month
-- $until DATE BETWEEN 1970-01-01 AND 2099-12-31: last day
-- $other TEXT = NULL IN (preview, {scenario_choices}): only this scenario, beside the one in force
WITH chosen AS (
    SELECT scenario, reporting_currency, set_at
    FROM scenarios
    WHERE merchant_id = $merchant AND ($other IS NULL OR scenario IN ('live', $other))
),
flows AS (
    SELECT
        scenario,
        greatest(CAST(date_trunc('month', day) AS DATE), CAST(date_trunc('month', $since) AS DATE)) AS month,
        sum(amount) AS amount, count(*) - count(amount) AS unknown
    FROM mrr_reported
    WHERE merchant_id = $merchant AND day <= $until
    GROUP BY 1, 2
),
held AS (
    SELECT
        chosen.scenario, chosen.reporting_currency, chosen.set_at, CAST(series.month AS DATE) AS month,
        sum(coalesce(flows.amount, 0)) OVER course AS mrr, sum(coalesce(flows.unknown, 0)) OVER course AS unknown
    FROM chosen
    CROSS JOIN generate_series(
        date_trunc('month', CAST($since AS TIMESTAMP)), CAST($until AS TIMESTAMP), INTERVAL 1 MONTH) AS series(month)
    LEFT JOIN flows ON flows.scenario = chosen.scenario AND flows.month = CAST(series.month AS DATE)
    WINDOW course AS (PARTITION BY chosen.scenario ORDER BY series.month)
)
SELECT
    month, scenario,
    CASE scenario WHEN 'live' THEN 'in force' ELSE scenario END
        || CASE WHEN min(reporting_currency) OVER () <> max(reporting_currency) OVER ()
            THEN ' (' || reporting_currency || ')' ELSE '' END AS name,
    reporting_currency AS currency,
    CASE WHEN unknown = 0 THEN CAST(mrr AS BIGINT) END AS mrr,
    CASE WHEN unknown > 0 THEN 'an exchange rate into ' || reporting_currency || ' is missing' END AS problem,
    coalesce(strftime(set_at, 'set %Y-%m-%d %H:%M'), 'defaults') AS definition
FROM held
ORDER BY month, scenario <> 'live', scenario
