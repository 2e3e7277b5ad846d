-- Who set what and when, oldest first; `valid_to` NULL is in force.
-- $merchant TEXT: whose
-- $scenario TEXT = NULL: one scenario only; those that are deleted have a history too
SELECT
    scenario, valid_from, valid_to, changed_by, note, preset, subtract_recurring_discounts, subtract_once_discounts,
    active_from, churn_at, count_past_due, reactivation_days, refunds, reporting_currency, rate_rule, time_zone,
    week_start, churn_formula, seq
FROM settings__history
WHERE merchant_id = $merchant AND ($scenario IS NULL OR scenario = $scenario)
ORDER BY scenario, seq
