-- What Stripe, ChartMogul, ProfitWell and Baremetrics mean by the same words, as rows of settings for a merchant, each
-- under a scenario of its own: written, they stand beside what is in force. Time zone, week, currency and exchange rate
-- are as in force. The values are those of presets.py.
-- $merchant TEXT: whose
SELECT
    merchants.merchant_id, vendors.preset AS scenario, vendors.preset, vendors.subtract_recurring_discounts,
    vendors.subtract_once_discounts, vendors.active_from, vendors.churn_at, vendors.count_past_due,
    CAST(NULL AS INTEGER) AS reactivation_days, vendors.refunds, live.reporting_currency,
    coalesce(live.rate_rule, 'day') AS rate_rule, live.time_zone, coalesce(live.week_start, 'monday') AS week_start,
    vendors.churn_formula
FROM merchants
CROSS JOIN (
    VALUES
        ('stripe', TRUE, FALSE, 'start', 'period_end', TRUE, 'ignore', 'stripe'),
        ('chartmogul', TRUE, FALSE, 'first_payment', 'period_end', TRUE, 'ignore', 'common'),
        ('profitwell', TRUE, TRUE, 'start', 'period_end', TRUE, 'ignore', 'common'),
        ('baremetrics', TRUE, FALSE, 'start', 'cancellation', TRUE, 'subtract', 'stripe')
) AS vendors (
    preset, subtract_recurring_discounts, subtract_once_discounts, active_from, churn_at, count_past_due, refunds,
    churn_formula)
LEFT JOIN settings AS live ON live.merchant_id = merchants.merchant_id AND live.scenario = 'live'
WHERE merchants.merchant_id = $merchant
ORDER BY vendors.preset
