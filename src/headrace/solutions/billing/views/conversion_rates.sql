-- The rates between the currencies that a merchant sells in and those that it reports in, and from which day on each
-- is the newest known. Either rate of a pair may be what changed.
--
-- Grain: one row per pair of currencies and day on which one of their rates changed; no row where one has no rate.
-- day_from   the first one counts for all days before it, and is 0001-01-01
-- up, down   amount x up / down is an amount of `currency`, in minor units, in those of `reporting`
-- is_latest  whether it is the last one known
WITH pairs AS (
    SELECT DISTINCT prices.currency, scenarios.reporting_currency AS reporting
    FROM price_stretches AS prices
    JOIN scenarios ON scenarios.merchant_id = prices.merchant_id
    WHERE prices.currency <> scenarios.reporting_currency
),
told AS (
    SELECT pairs.currency, pairs.reporting, rates.day_from, rates.day_from AS own_from, CAST(NULL AS DATE) AS into_from
    FROM pairs JOIN currency_rates AS rates ON rates.currency = pairs.currency
    UNION ALL
    SELECT pairs.currency, pairs.reporting, rates.day_from, CAST(NULL AS DATE) AS own_from, rates.day_from AS into_from
    FROM pairs JOIN currency_rates AS rates ON rates.currency = pairs.reporting
),
days AS (
    SELECT currency, reporting, day_from, max(own_from) AS own_from, max(into_from) AS into_from
    FROM told
    GROUP BY currency, reporting, day_from
),
running AS (
    SELECT
        currency, reporting, day_from,
        max(own_from) OVER course AS own_from,
        max(into_from) OVER course AS into_from,
        lead(day_from) OVER course AS next_from
    FROM days
    WINDOW course AS (PARTITION BY currency, reporting ORDER BY day_from)
)
SELECT
    running.currency, running.reporting, running.day_from, running.next_from IS NULL AS is_latest,
    into_rate.rate * CASE into_rate.minor_digits WHEN 0 THEN 1 WHEN 2 THEN 100 ELSE 1000 END AS up,
    own_rate.rate * CASE own_rate.minor_digits WHEN 0 THEN 1 WHEN 2 THEN 100 ELSE 1000 END AS down
FROM running
JOIN currency_rates AS own_rate
    ON own_rate.currency = running.currency AND own_rate.day_from = running.own_from
JOIN currency_rates AS into_rate
    ON into_rate.currency = running.reporting AND into_rate.day_from = running.into_from
