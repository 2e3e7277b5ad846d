-- Why the numbers of a merchant's other scenarios differ from those in force: one row for each setting that differs.
--
-- moves  what the setting can change
-- $merchant TEXT: whose
-- $other TEXT = NULL IN (preview, {scenario_choices}): one scenario only
WITH told AS (
    SELECT
        scenario, preset, set_at,
        unnest([
            {'place': 1, 'setting': 'subtract_recurring_discounts', 'value': CAST(subtract_recurring_discounts AS TEXT)},
            {'place': 2, 'setting': 'subtract_once_discounts', 'value': CAST(subtract_once_discounts AS TEXT)},
            {'place': 3, 'setting': 'active_from', 'value': active_from},
            {'place': 4, 'setting': 'churn_at', 'value': churn_at},
            {'place': 5, 'setting': 'count_past_due', 'value': CAST(count_past_due AS TEXT)},
            {'place': 6, 'setting': 'reactivation_days', 'value': coalesce(CAST(reactivation_days AS TEXT), 'any time')},
            {'place': 7, 'setting': 'reporting_currency', 'value': reporting_currency},
            {'place': 8, 'setting': 'rate_rule', 'value': rate_rule},
            {'place': 9, 'setting': 'time_zone', 'value': time_zone},
            {'place': 10, 'setting': 'week_start', 'value': week_start},
            {'place': 11, 'setting': 'churn_formula', 'value': churn_formula},
            {'place': 12, 'setting': 'refunds', 'value': refunds}
        ]) AS one
    FROM scenarios
    WHERE merchant_id = $merchant
),
reasons (setting, value, moves, reason) AS (
    VALUES
        ('subtract_recurring_discounts', 'true', 'MRR', 'what recurring discounts take off is no MRR'),
        ('subtract_recurring_discounts', 'false', 'MRR', 'MRR stands before recurring discounts'),
        ('subtract_once_discounts', 'true', 'MRR',
            'an introductory offer lowers MRR for one interval, and its end is expansion'),
        ('subtract_once_discounts', 'false', 'MRR', 'a discount on one invoice leaves MRR alone'),
        ('active_from', 'first_payment', 'MRR, subscribers',
            'a customer counts from the first paid invoice: who has not paid yet is left out, and new MRR comes later'),
        ('active_from', 'start', 'MRR, subscribers', 'a customer counts from the start, paid or not'),
        ('churn_at', 'cancellation', 'MRR, subscribers',
            'who asked to leave has churned, up to one period before the end'),
        ('churn_at', 'period_end', 'MRR, subscribers', 'who asked to leave counts until the period is over'),
        ('count_past_due', 'true', 'MRR, subscribers', 'who is overdue still counts'),
        ('count_past_due', 'false', 'MRR, subscribers', 'who is overdue has churned, and comes back by paying'),
        ('reactivation_days', NULL, 'new, reactivated', 'who comes back later than this is new again'),
        ('reporting_currency', NULL, 'all money', 'amounts are of another currency, and FX is what its rates did'),
        ('rate_rule', NULL, 'all money', 'other currencies are converted at another day''s rate'),
        ('time_zone', NULL, 'days', 'days begin at other moments: what is near midnight moves to a neighbour'),
        ('week_start', NULL, 'weeks', 'weeks begin on another day'),
        ('churn_formula', 'stripe', 'churn rate, LTV',
            'churned / (start + new): growth makes the rate lower'),
        ('churn_formula', 'common', 'churn rate, LTV', 'churned / start: new customers do not lower the rate'),
        ('refunds', 'subtract', 'net revenue', 'refunds come off net revenue; MRR is the same'),
        ('refunds', 'ignore', 'net revenue', 'refunds leave net revenue alone; MRR is the same')
)
SELECT
    other.scenario, other.preset, other.one.setting AS setting, live.one.value AS in_force, other.one.value AS value,
    reasons.moves, reasons.reason,
    coalesce(strftime(other.set_at, 'set %Y-%m-%d %H:%M'), 'defaults') AS definition
FROM told AS other
JOIN told AS live ON live.scenario = 'live' AND live.one.setting = other.one.setting
LEFT JOIN reasons
    ON reasons.setting = other.one.setting AND coalesce(reasons.value, other.one.value) = other.one.value
WHERE other.scenario <> 'live' AND live.one.value IS DISTINCT FROM other.one.value
    AND ($other IS NULL OR other.scenario = $other)
ORDER BY other.scenario, other.one.place
