-- Trials per period: started, ended, converted, and the rate of conversion (converted / ended).
--
-- A trial is of the products, prices, intervals and currencies that its subscription's items have when it starts, or ends;
-- it counts once in each slice. Customers of trials alone have no cohort yet.
-- $merchant TEXT: whose
-- $scenario TEXT = live: by which settings
-- $since DATE: first day
-- $until DATE: last day
-- $period TEXT = month: day, week, month, quarter, year, or all for one period
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
)
SELECT
    CASE WHEN $period = 'all' THEN $since
        ELSE CAST(date_trunc(CASE WHEN $period = 'all' THEN 'year' ELSE $period END, day) AS DATE) END AS period,
    min(day) AS first_day, max(day) AS last_day,
    CAST(coalesce(sum(trials) FILTER (WHERE event = 'started'), 0) AS BIGINT) AS started,
    CAST(coalesce(sum(trials) FILTER (WHERE event = 'ended'), 0) AS BIGINT) AS ended,
    CAST(coalesce(sum(trials) FILTER (WHERE outcome = 'converted'), 0) AS BIGINT) AS converted,
    CAST(coalesce(sum(trials) FILTER (WHERE outcome = 'paused'), 0) AS BIGINT) AS paused,
    coalesce(sum(trials) FILTER (WHERE outcome = 'converted'), 0)
        / nullif(sum(trials) FILTER (WHERE event = 'ended'), 0) AS conversion_rate,
    {definition} AS definition,
    slice, CASE WHEN $by IS NOT NULL THEN coalesce(slice, '(none)') END AS part
FROM told
WHERE day BETWEEN $since AND $until
GROUP BY period, slice
ORDER BY period, started DESC, slice
