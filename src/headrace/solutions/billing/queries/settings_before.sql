-- The settings of a merchant as they were before the last change of those in force; what everyone begins with where
-- there was none.
-- $merchant TEXT: whose
SELECT * EXCLUDE (place) FROM (
    SELECT
        merchant_id, preset, subtract_recurring_discounts, subtract_once_discounts, active_from, churn_at,
        count_past_due, reactivation_days, refunds, reporting_currency, rate_rule, time_zone, week_start,
        churn_formula, seq AS place
    FROM settings__history
    WHERE merchant_id = $merchant AND scenario = 'live'
        AND seq < (SELECT max(seq) FROM settings WHERE merchant_id = $merchant AND scenario = 'live')
    UNION ALL
    SELECT
        $merchant, 'stripe', TRUE, FALSE, 'start', 'period_end', TRUE, NULL, 'ignore', NULL, 'day', NULL, 'monday',
        'stripe', -9223372036854775808
)
ORDER BY place DESC
LIMIT 1
