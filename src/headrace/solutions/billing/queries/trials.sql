-- Trials per period: started, ended, converted, and the rate of conversion (converted / ended). Every period from the
-- first day to the last has a row, and each slice in every period: 0 where no trial began or ended.
--
-- A trial is of the products, prices, intervals and currencies that its subscription's items have when it starts, or ends;
-- it counts once in each slice. Customers of trials alone have no cohort yet.
-- $merchant TEXT: whose
-- $scenario TEXT = live IN (live, {scenario_choices}): by which settings
-- $since DATE BETWEEN 1970-01-01 AND 2099-12-31: first day
-- $until DATE BETWEEN 1970-01-01 AND 2099-12-31: last day
-- $period TEXT = month IN (day, week, month, quarter, year, all): how long a row's days are; all: one row
WITH told AS (
    SELECT DISTINCT
        {sliced} AS slice,
        subscription_id, turned_at, CAST(local_at AS DATE) AS day, event, outcome, 1 AS trials
    FROM {trial_rows} AS trials
    WHERE NOT {plain(by => nullif($by, 'country'), country => NULL)} AND {filtered}
    UNION ALL
    SELECT
        CASE $by WHEN 'country' THEN country END AS slice, NULL, NULL, day, event, outcome, trials
    FROM trials_daily
    WHERE merchant_id = $merchant AND scenario = $scenario AND {plain(by => nullif($by, 'country'), country => NULL)}
        AND ($country IS NULL OR country = $country)
),
counts AS (
    SELECT
        slice, day,
        sum(trials) FILTER (WHERE event = 'started') AS started, sum(trials) FILTER (WHERE event = 'ended') AS ended,
        sum(trials) FILTER (WHERE outcome = 'converted') AS converted,
        sum(trials) FILTER (WHERE outcome = 'paused') AS paused
    FROM told
    WHERE day BETWEEN $since AND $until
    GROUP BY slice, day
),
slices AS (
    SELECT DISTINCT slice FROM counts WHERE $by IS NOT NULL
    UNION ALL
    SELECT CAST(NULL AS TEXT) AS slice WHERE $by IS NULL
),
days AS (
    SELECT days.day, {period_of} AS period
    FROM (
        SELECT CAST(day AS DATE) AS day
        FROM generate_series(CAST($since AS TIMESTAMP), CAST($until AS TIMESTAMP), INTERVAL 1 DAY) AS series(day)
    ) AS days
    CROSS JOIN (
        SELECT CASE week_start WHEN 'sunday' THEN 1 WHEN 'saturday' THEN 2 ELSE 0 END AS week_shift
        FROM scenarios
        WHERE merchant_id = $merchant AND scenario = $scenario
    ) AS chosen
)
SELECT
    days.period, min(days.day) AS first_day, max(days.day) AS last_day,
    CAST(coalesce(sum(counts.started), 0) AS BIGINT) AS started,
    CAST(coalesce(sum(counts.ended), 0) AS BIGINT) AS ended,
    CAST(coalesce(sum(counts.converted), 0) AS BIGINT) AS converted,
    CAST(coalesce(sum(counts.paused), 0) AS BIGINT) AS paused,
    coalesce(sum(counts.converted), 0) / nullif(sum(counts.ended), 0) AS conversion_rate,
    {definition} AS definition,
    slices.slice, CASE WHEN $by IS NOT NULL THEN coalesce(slices.slice, '(none)') END AS part
FROM days
CROSS JOIN slices
LEFT JOIN counts ON counts.day = days.day AND counts.slice IS NOT DISTINCT FROM slices.slice
GROUP BY days.period, slices.slice
ORDER BY days.period, started DESC, slices.slice
