-- By which settings a number is made, for the heading.
-- $merchant TEXT: whose
-- $scenario TEXT = live IN (live, {scenario_choices}): by which settings
SELECT coalesce(strftime(set_at, 'set %Y-%m-%d %H:%M'), 'defaults') FROM scenarios
WHERE merchant_id = $merchant AND scenario = $scenario
