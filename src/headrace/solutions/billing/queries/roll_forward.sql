-- The ledger in the reporting currency between two days, of a merchant or of any slice: what MRR was, each day's
-- movements and FX. The sum of `amount` is MRR at the end of the last day, as `metrics` tells it, to the minor unit.
--
-- The rule is that of the view mrr_reported; a slice is converted as a whole of its own.
-- type        `start` (one row per currency, on the day before the first), then as in mrr_reported
-- amount      minor units of `reporting`; NULL where no rate is known
-- own_amount  minor units of `currency`
-- $merchant TEXT: whose
-- $scenario TEXT = live: by which settings
-- $since DATE: first day
-- $until DATE: last day
-- $product TEXT = NULL: of one product only
-- $price TEXT = NULL: of one price only
-- $plan_interval TEXT = NULL: of prices per `month`, `year`, `3 months`, …
-- $country TEXT = NULL: of customers of one country only
-- $cohort DATE = NULL: of customers who began in one month only (its first day)
-- $customer TEXT = NULL: of one customer only
-- $of_currency TEXT = NULL: of one currency only
WITH chosen AS (
    SELECT reporting_currency AS reporting, rate_rule
    FROM scenarios
    WHERE merchant_id = $merchant AND scenario = $scenario
),
sums AS (
    SELECT
        greatest(day, $since - 1) AS day, currency, CASE WHEN day < $since THEN 'start' ELSE type END AS type,
        CAST(sum(amount) AS BIGINT) AS amount
    FROM (
        SELECT * EXCLUDE (movements) FROM mrr_daily
        WHERE merchant_id = $merchant AND scenario = $scenario AND $customer IS NULL
        UNION ALL BY NAME
        SELECT
            merchant_id, scenario, day, currency, product_id, price_id, plan_interval, country, cohort_month, type, amount
        FROM mrr_movements
        WHERE merchant_id = $merchant AND scenario = $scenario AND customer_id = $customer
    ) AS movements
    WHERE day <= $until
        AND ($product IS NULL OR product_id = $product) AND ($price IS NULL OR price_id = $price)
        AND ($plan_interval IS NULL OR plan_interval = $plan_interval) AND ($country IS NULL OR country = $country)
        AND ($cohort IS NULL OR cohort_month = $cohort) AND ($of_currency IS NULL OR currency = $of_currency)
    GROUP BY 1, 2, 3
),
balances AS (
    SELECT
        days.day, known.currency,
        CAST(sum(coalesce(net.amount, 0)) OVER (PARTITION BY known.currency ORDER BY days.day) AS BIGINT) AS balance
    FROM (
        SELECT CAST(day AS DATE) AS day
        FROM generate_series(CAST($since AS TIMESTAMP) - INTERVAL 1 DAY, CAST($until AS TIMESTAMP), INTERVAL 1 DAY)
            AS series(day)
    ) AS days
    CROSS JOIN (SELECT DISTINCT currency FROM sums) AS known
    LEFT JOIN (SELECT day, currency, sum(amount) AS amount FROM sums GROUP BY day, currency) AS net
        ON net.day = days.day AND net.currency = known.currency
),
rates AS (
    SELECT currency, day_from, up, down, is_latest FROM conversion_rates JOIN chosen USING (reporting)
    UNION ALL
    SELECT reporting, DATE '0001-01-01', 1, 1, TRUE FROM chosen
),
rated AS (
    SELECT balances.day, balances.currency, balances.balance, rates.up, rates.down
    FROM (
        SELECT
            balances.*,
            CASE chosen.rate_rule WHEN 'day' THEN day WHEN 'previous_day' THEN day - 1
                ELSE DATE '9999-12-30' END AS rate_day
        FROM balances CROSS JOIN chosen
    ) AS balances
    ASOF LEFT JOIN rates ON rates.currency = balances.currency AND rates.day_from <= balances.rate_day
),
converted AS (
    SELECT
        *,
        CASE WHEN balance = 0 THEN 0
            ELSE CAST(sign(balance) * ((2 * CAST(abs(balance) AS HUGEINT) * up + down) // (2 * down)) AS BIGINT)
        END AS amount
    FROM rated
),
moves AS (
    SELECT
        sums.day, sums.currency, sums.type, sums.amount AS own_amount,
        CAST(sign(sums.amount) * ((2 * CAST(abs(sums.amount) AS HUGEINT) * rated.up + rated.down) // (2 * rated.down))
            AS BIGINT) AS amount
    FROM sums
    JOIN rated ON rated.day = sums.day AND rated.currency = sums.currency
),
exchange AS (
    SELECT
        converted.day, converted.currency,
        converted.amount - lag(converted.amount) OVER (PARTITION BY converted.currency ORDER BY converted.day)
            - coalesce(moved.amount, 0) AS amount
    FROM converted
    LEFT JOIN (SELECT day, currency, sum(amount) AS amount FROM moves WHERE type <> 'start' GROUP BY 1, 2) AS moved
        ON moved.day = converted.day AND moved.currency = converted.currency
)
SELECT found.day, found.currency, found.type, found.amount, found.own_amount, chosen.reporting
FROM (
    SELECT day, currency, type, amount, own_amount FROM moves
    UNION ALL
    SELECT day, currency, 'FX', CAST(amount AS BIGINT), 0 FROM exchange WHERE amount <> 0
) AS found
CROSS JOIN chosen
ORDER BY found.day, found.currency, found.type
