-- The settings of a merchant as they are in force, for a form to change. Who changes them, and why, is told anew each
-- time: settings_history.sql says who did before.
-- $merchant TEXT: whose
SELECT
    merchant_id, scenario, preset, subtract_recurring_discounts, subtract_once_discounts, active_from, churn_at,
    count_past_due, reactivation_days, refunds, reporting_currency, rate_rule, time_zone, week_start, churn_formula,
    CAST(NULL AS TEXT) AS changed_by, CAST(NULL AS TEXT) AS note,
    coalesce(strftime(set_at, 'set %Y-%m-%d %H:%M'), 'defaults') AS definition
FROM scenarios
WHERE merchant_id = $merchant AND scenario = 'live'
