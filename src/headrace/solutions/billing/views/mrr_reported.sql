-- The ledger in the reporting currency: why a merchant's MRR is what it is, exchange rates among the reasons. MRR on a
-- day, in all currencies or in one, is the sum of `amount` over all rows up to it, to the minor unit.
--
-- Balances and movements are summed per local day and currency, converted at that day's rate (`rate_rule` says which),
-- rounded to minor units, half away from zero. FX is what a balance differs by from that of the day before, beyond the
-- movements: what the rates did, and what rounding left. It has rows only for days on which a rate or MRR changed.
-- Slices other than by currency have theirs from queries/roll_forward.sql: a row per customer, or per product, and day
-- with a new rate would be many times the ledger itself.
--
-- Grain: one row per merchant, scenario, day, currency and type.
-- type        as in mrr_movements, and `FX`
-- amount      minor units of `reporting`; NULL where no rate is known: then no sum of it is whole
-- own_amount  minor units of `currency`; 0 for FX
WITH parts AS (
    SELECT
        days.merchant_id, days.scenario, days.day, days.currency, days.reporting,
        CAST(sign(days.balance) * ((2 * CAST(abs(days.balance) AS HUGEINT) * rates.up + rates.down)
            // (2 * rates.down)) AS BIGINT) AS amount
    FROM reported_days AS days
    JOIN conversion_rates AS rates
        ON rates.currency = days.currency AND rates.reporting = days.reporting AND rates.day_from = days.rate_from
    UNION ALL
    SELECT
        days.merchant_id, days.scenario, days.day, days.currency, days.reporting,
        -CAST(sign(days.balance_before) * ((2 * CAST(abs(days.balance_before) AS HUGEINT) * rates.up + rates.down)
            // (2 * rates.down)) AS BIGINT) AS amount
    FROM reported_days AS days
    JOIN conversion_rates AS rates
        ON rates.currency = days.currency AND rates.reporting = days.reporting AND rates.day_from = days.rate_before
    UNION ALL
    SELECT merchant_id, scenario, day, currency, reporting, -amount AS amount
    FROM reported_movements
    WHERE currency <> reporting
)
SELECT merchant_id, scenario, day, currency, reporting, type, amount, own_amount
FROM reported_movements
UNION ALL
SELECT
    merchant_id, scenario, day, currency, reporting, 'FX' AS type,
    CAST(sum(amount) AS BIGINT) AS amount, CAST(0 AS BIGINT) AS own_amount
FROM parts
GROUP BY merchant_id, scenario, day, currency, reporting
HAVING sum(amount) <> 0
