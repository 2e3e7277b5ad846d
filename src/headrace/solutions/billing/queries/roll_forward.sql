-- The ledger in the reporting currency between two days, of a merchant or of any slice: what MRR was, each day's
-- movements and FX. The sum of `amount` is MRR at the end of the last day, as `metrics` tells it, to the minor unit.
--
-- The rule is that of the view mrr_reported; a slice is converted as a whole of its own.
-- type        `start` (one row per currency, on the day before the first), then as in mrr_reported
-- amount      minor units of `reporting`; NULL where no rate is known
-- own_amount  minor units of `currency`
-- slice       of which slice the row is, where `$by` parts them: each slice is converted as a whole, and adds up in itself
-- $merchant TEXT: whose
-- $scenario TEXT = live IN (live, {scenario_choices}): by which settings
-- $since DATE BETWEEN 1970-01-01 AND 2099-12-31: first day
-- $until DATE BETWEEN 1970-01-01 AND 2099-12-31: last day
-- $customer TEXT = NULL: of one customer only
-- $by TEXT = NULL IN (product, price, plan_interval, country, cohort, currency, {own_dimensions}): a ledger for each slice; NULL: one for all
WITH chosen AS (
    SELECT reporting_currency AS reporting, rate_rule
    FROM scenarios
    WHERE merchant_id = $merchant AND scenario = $scenario
),
named AS (
    SELECT * FROM {names} AS names WHERE {by_customer}
),
sums AS (
    SELECT
        {sliced} AS slice,
        greatest(day, $since - 1) AS day, currency, CASE WHEN day < $since THEN 'start' ELSE type END AS type,
        CAST(sum(amount) AS BIGINT) AS amount
    FROM (
        SELECT
            day, currency, product_id, price_id, plan_interval, country, cohort_month, type, amount,
            CAST(NULL AS MAP(VARCHAR, VARCHAR)) AS named
        FROM mrr_daily
        WHERE merchant_id = $merchant AND scenario = $scenario AND NOT ($customer IS NOT NULL OR {by_customer})
        UNION ALL
        SELECT
            moved.day, moved.currency, moved.product_id, moved.price_id, moved.plan_interval, moved.country,
            moved.cohort_month, moved.type, moved.amount, named.named
        FROM mrr_movements AS moved
        LEFT JOIN named ON named.customer_id = moved.customer_id
        WHERE moved.merchant_id = $merchant AND moved.scenario = $scenario AND ($customer IS NOT NULL OR {by_customer})
            AND ($customer IS NULL OR moved.customer_id = $customer)
    ) AS movements
    WHERE day <= $until
        AND {filtered}
    GROUP BY 1, 2, 3, 4
),
balances AS (
    SELECT
        known.slice, days.day, known.currency,
        CAST(sum(coalesce(net.amount, 0)) OVER (
            PARTITION BY known.slice, known.currency ORDER BY days.day) AS BIGINT) AS balance
    FROM (
        SELECT CAST(day AS DATE) AS day
        FROM generate_series(CAST($since AS TIMESTAMP) - INTERVAL 1 DAY, CAST($until AS TIMESTAMP), INTERVAL 1 DAY)
            AS series(day)
    ) AS days
    CROSS JOIN (SELECT DISTINCT slice, currency FROM sums) AS known
    LEFT JOIN (SELECT slice, day, currency, sum(amount) AS amount FROM sums GROUP BY slice, day, currency) AS net
        ON net.day = days.day AND net.currency = known.currency AND net.slice IS NOT DISTINCT FROM known.slice
),
rates AS (
    SELECT currency, day_from, up, down, is_latest FROM conversion_rates JOIN chosen USING (reporting)
    UNION ALL
    SELECT reporting, DATE '0001-01-01', 1, 1, TRUE FROM chosen
),
rated AS (
    SELECT balances.slice, balances.day, balances.currency, balances.balance, rates.up, rates.down
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
        sums.slice, sums.day, sums.currency, sums.type, sums.amount AS own_amount,
        CAST(sign(sums.amount) * ((2 * CAST(abs(sums.amount) AS HUGEINT) * rated.up + rated.down) // (2 * rated.down))
            AS BIGINT) AS amount
    FROM sums
    JOIN rated
        ON rated.day = sums.day AND rated.currency = sums.currency AND rated.slice IS NOT DISTINCT FROM sums.slice
),
exchange AS (
    SELECT
        converted.slice, converted.day, converted.currency,
        converted.amount - lag(converted.amount) OVER (
            PARTITION BY converted.slice, converted.currency ORDER BY converted.day)
            - coalesce(moved.amount, 0) AS amount
    FROM converted
    LEFT JOIN (
        SELECT slice, day, currency, sum(amount) AS amount FROM moves WHERE type <> 'start' GROUP BY 1, 2, 3) AS moved
        ON moved.day = converted.day AND moved.currency = converted.currency
        AND moved.slice IS NOT DISTINCT FROM converted.slice
)
SELECT found.day, found.currency, found.type, found.amount, found.own_amount, chosen.reporting, found.slice
FROM (
    SELECT slice, day, currency, type, amount, own_amount FROM moves
    UNION ALL
    SELECT slice, day, currency, 'FX', CAST(amount AS BIGINT), 0 FROM exchange WHERE amount <> 0
) AS found
CROSS JOIN chosen
ORDER BY found.slice NULLS LAST, found.day, found.currency, found.type
