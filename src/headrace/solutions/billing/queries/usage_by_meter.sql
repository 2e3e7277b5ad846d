-- Usage per meter and day, from the first day to the last; 0 on days without any.
-- $merchant TEXT: whose
-- $scenario TEXT = live: by which settings
-- $since DATE: first day
-- $until DATE: last day
-- $meter TEXT = NULL: one meter only
WITH used AS (
    SELECT day, meter, units, events
    FROM usage_daily
    WHERE merchant_id = $merchant AND scenario = $scenario AND day BETWEEN $since AND $until
        AND ($meter IS NULL OR meter = $meter)
)
SELECT
    CAST(days.day AS DATE) AS day, meters.meter, coalesce(used.units, 0) AS units, coalesce(used.events, 0) AS events,
    (SELECT coalesce(strftime(set_at, 'set %Y-%m-%d %H:%M'), 'defaults') FROM scenarios
     WHERE merchant_id = $merchant AND scenario = $scenario) AS definition
FROM generate_series(CAST($since AS TIMESTAMP), CAST($until AS TIMESTAMP), INTERVAL 1 DAY) AS days(day)
CROSS JOIN (SELECT DISTINCT meter FROM used) AS meters
LEFT JOIN used ON used.day = CAST(days.day AS DATE) AND used.meter = meters.meter
ORDER BY days.day, meters.meter
