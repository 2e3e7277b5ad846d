-- The settings of a scenario that stands beside those in force, for a page to put it in force.
-- $merchant TEXT: whose
-- $other TEXT IN (preview, {scenario_choices}): which scenario
SELECT
    merchant_id, scenario, preset, subtract_recurring_discounts, subtract_once_discounts, active_from, churn_at,
    count_past_due, reactivation_days, refunds, reporting_currency, rate_rule, time_zone, week_start, churn_formula
FROM settings
WHERE merchant_id = $merchant AND scenario = $other
