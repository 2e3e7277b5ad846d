-- Trials per period: started, ended, converted, and the rate of conversion (converted / ended).
-- $merchant TEXT: whose
-- $scenario TEXT = live: by which settings
-- $since DATE: first day
-- $until DATE: last day
-- $period TEXT = month: day, week, month, quarter, year, or all for one period
-- $country TEXT = NULL: of customers of one country only
SELECT
    CASE WHEN $period = 'all' THEN $since
        ELSE CAST(date_trunc(CASE WHEN $period = 'all' THEN 'year' ELSE $period END, day) AS DATE) END AS period,
    CAST(coalesce(sum(trials) FILTER (WHERE event = 'started'), 0) AS BIGINT) AS started,
    CAST(coalesce(sum(trials) FILTER (WHERE event = 'ended'), 0) AS BIGINT) AS ended,
    CAST(coalesce(sum(trials) FILTER (WHERE outcome = 'converted'), 0) AS BIGINT) AS converted,
    CAST(coalesce(sum(trials) FILTER (WHERE outcome = 'paused'), 0) AS BIGINT) AS paused,
    coalesce(sum(trials) FILTER (WHERE outcome = 'converted'), 0)
        / nullif(sum(trials) FILTER (WHERE event = 'ended'), 0) AS conversion_rate,
    (SELECT coalesce(strftime(set_at, 'set %Y-%m-%d %H:%M'), 'defaults') FROM scenarios
     WHERE merchant_id = $merchant AND scenario = $scenario) AS definition
FROM trials_daily
WHERE merchant_id = $merchant AND scenario = $scenario AND day BETWEEN $since AND $until
    AND ($country IS NULL OR country = $country)
GROUP BY 1
ORDER BY 1
