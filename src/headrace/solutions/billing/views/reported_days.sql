-- MRR in currencies other than the reporting currency on the days on which it, or its rate, changed.
--
-- Grain: one row per merchant, scenario, currency and such a day on which there was MRR before, after or on it:
-- movements of one day may cancel.
-- balance_before, balance  MRR of the day before and of the day, in minor units of `currency`
-- rate_before, rate_from   which rates they are converted by: day_from of conversion_rates, by the scenario's
--                          rate_rule; NULL where no rate is known
WITH nets AS (
    SELECT
        daily.merchant_id, daily.scenario, daily.currency, scenarios.reporting_currency AS reporting,
        scenarios.rate_rule, daily.day, CAST(sum(daily.amount) AS BIGINT) AS amount
    FROM mrr_daily AS daily
    JOIN scenarios ON scenarios.merchant_id = daily.merchant_id AND scenarios.scenario = daily.scenario
    WHERE daily.currency <> scenarios.reporting_currency
    GROUP BY ALL
),
sold AS (
    SELECT merchant_id, scenario, currency, reporting, rate_rule
    FROM nets
    GROUP BY ALL
),
points AS (
    SELECT merchant_id, scenario, currency, reporting, day, amount, CAST(NULL AS DATE) AS rate_from
    FROM nets
    UNION ALL
    SELECT
        sold.merchant_id, sold.scenario, sold.currency, sold.reporting,
        CASE sold.rate_rule WHEN 'day' THEN rates.day_from WHEN 'previous_day' THEN rates.day_from + 1
            ELSE DATE '0001-01-01' END AS day,
        CAST(0 AS BIGINT) AS amount,
        rates.day_from AS rate_from
    FROM sold
    JOIN conversion_rates AS rates ON rates.currency = sold.currency AND rates.reporting = sold.reporting
    WHERE sold.rate_rule <> 'latest' OR rates.is_latest
),
days AS (
    SELECT
        merchant_id, scenario, currency, reporting, day,
        CAST(sum(amount) AS BIGINT) AS amount, max(rate_from) AS rate_from, count(*) > count(rate_from) AS is_moved
    FROM points
    GROUP BY merchant_id, scenario, currency, reporting, day
),
running AS (
    SELECT
        merchant_id, scenario, currency, reporting, day, amount, is_moved,
        CAST(sum(amount) OVER course AS BIGINT) AS balance,
        max(rate_from) OVER course AS rate_from
    FROM days
    WINDOW course AS (PARTITION BY merchant_id, scenario, currency, reporting ORDER BY day)
),
beside AS (
    SELECT *, lag(rate_from) OVER (
        PARTITION BY merchant_id, scenario, currency, reporting ORDER BY day) AS rate_before
    FROM running
)
SELECT
    merchant_id, scenario, currency, reporting, day,
    balance - amount AS balance_before, balance, rate_before, rate_from
FROM beside
WHERE balance <> 0 OR is_moved
