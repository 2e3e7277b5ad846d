-- MRR movements of a local day in the reporting currency: summed per currency and type, converted at that day's rate,
-- rounded to minor units, half away from zero.
--
-- Grain: one row per merchant, scenario, day, currency and type.
-- amount      minor units of `reporting`; NULL where no rate is known
-- own_amount  minor units of `currency`
WITH sums AS (
    SELECT merchant_id, scenario, day, currency, type, CAST(sum(amount) AS BIGINT) AS amount
    FROM mrr_daily
    GROUP BY merchant_id, scenario, day, currency, type
)
SELECT
    sums.merchant_id, sums.scenario, sums.day, sums.currency, scenarios.reporting_currency AS reporting, sums.type,
    sums.amount AS amount, sums.amount AS own_amount
FROM sums
JOIN scenarios ON scenarios.merchant_id = sums.merchant_id AND scenarios.scenario = sums.scenario
WHERE sums.currency = scenarios.reporting_currency
UNION ALL
SELECT
    sums.merchant_id, sums.scenario, sums.day, sums.currency, days.reporting, sums.type,
    CAST(sign(sums.amount) * ((2 * CAST(abs(sums.amount) AS HUGEINT) * rates.up + rates.down) // (2 * rates.down))
        AS BIGINT) AS amount,
    sums.amount AS own_amount
FROM sums
JOIN reported_days AS days
    ON days.merchant_id = sums.merchant_id AND days.scenario = sums.scenario AND days.currency = sums.currency
    AND days.day = sums.day
LEFT JOIN conversion_rates AS rates
    ON rates.currency = days.currency AND rates.reporting = days.reporting AND rates.day_from = days.rate_from
