-- Exchange rates with the days on which each is the newest known, and how many digits a currency's minor unit has.
--
-- Grain: one row per currency and day on which a rate was told; US dollars, the base, have one row.
-- rate       units of the currency for one US dollar, in 1e-8
-- day_from, day_until  days on which it is the newest, half open; the first counts for all days before it
WITH told AS (
    SELECT
        currency, day, CAST(CAST(rate AS DECIMAL(38, 8)) * 100000000 AS BIGINT) AS rate,
        lag(day) OVER (PARTITION BY currency ORDER BY day) AS last_day,
        lead(day) OVER (PARTITION BY currency ORDER BY day) AS next_day
    FROM fx_rates
    WHERE currency <> 'usd'
),
rates AS (
    SELECT
        currency, rate, CASE WHEN last_day IS NULL THEN DATE '0001-01-01' ELSE day END AS day_from,
        coalesce(next_day, DATE '9999-12-31') AS day_until
    FROM told
    UNION ALL
    SELECT 'usd' AS currency, CAST(100000000 AS BIGINT) AS rate, DATE '0001-01-01', DATE '9999-12-31'
)
SELECT
    currency, rate, day_from, day_until,
    CASE
        WHEN currency IN ('bif', 'clp', 'djf', 'gnf', 'jpy', 'kmf', 'krw', 'mga', 'pyg', 'rwf', 'ugx', 'vnd', 'vuv',
            'xaf', 'xof', 'xpf') THEN 0
        WHEN currency IN ('bhd', 'jod', 'kwd', 'omr', 'tnd') THEN 3
        ELSE 2
    END AS minor_digits
FROM rates
