-- The settings in force: one row per merchant and scenario. A merchant that has set nothing has Stripe's defaults.
--
-- NULLs are filled in: time zone and reporting currency are the merchant's own.
SELECT
    settings.merchant_id,
    settings.scenario,
    settings.preset,
    settings.subtract_recurring_discounts,
    settings.subtract_once_discounts,
    settings.active_from,
    settings.churn_at,
    settings.count_past_due,
    settings.reactivation_days,
    settings.refunds,
    coalesce(settings.reporting_currency, merchants.reporting_currency) AS reporting_currency,
    settings.rate_rule,
    coalesce(settings.time_zone, merchants.time_zone) AS time_zone,
    settings.week_start,
    settings.churn_formula,
    settings.changed_by,
    settings.note,
    settings.valid_at AS set_at
FROM settings
JOIN merchants ON merchants.merchant_id = settings.merchant_id
UNION ALL
SELECT
    merchant_id, 'live', 'stripe', TRUE, FALSE, 'start', 'period_end', TRUE, NULL, 'ignore',
    reporting_currency, 'day', time_zone, 'monday', 'stripe', NULL, NULL, NULL
FROM merchants
WHERE NOT EXISTS (
    SELECT 1 FROM settings WHERE settings.merchant_id = merchants.merchant_id AND settings.scenario = 'live'
)
