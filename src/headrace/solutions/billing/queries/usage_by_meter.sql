-- Usage per meter and day.
-- $merchant TEXT: whose
-- $scenario TEXT = live: by which settings
-- $since DATE: first day
-- $until DATE: last day
-- $meter TEXT = NULL: one meter only
SELECT
    day, meter, units, events,
    (SELECT coalesce(strftime(set_at, 'set %Y-%m-%d %H:%M'), 'defaults') FROM scenarios
     WHERE merchant_id = $merchant AND scenario = $scenario) AS definition
FROM usage_daily
WHERE merchant_id = $merchant AND scenario = $scenario AND day BETWEEN $since AND $until
    AND ($meter IS NULL OR meter = $meter)
ORDER BY day, meter
