-- Customers with MRR at the end of a day, the largest first; `mrr` in minor units of the customer's currency, `reported`
-- in those of the reporting one, by the rate that the settings name (NULL while there is none).
-- $merchant TEXT: whose
-- $scenario TEXT = live IN (live, {scenario_choices}): by which settings
-- $day DATE BETWEEN 1970-01-01 AND 2099-12-31: as of the end of which day
-- $find TEXT = NULL: whose id or name holds these letters
-- $rows INTEGER = 1000 BETWEEN 0 AND 10000000: how many
WITH named AS (
    SELECT * FROM {names} AS names WHERE {by_customer(by => CASE WHEN $slice IS NOT NULL THEN $by END)}
),
chosen AS (
    SELECT
        reporting_currency AS reporting,
        CASE rate_rule WHEN 'day' THEN $day WHEN 'previous_day' THEN $day - 1 ELSE DATE '9999-12-30' END AS rate_day
    FROM scenarios
    WHERE merchant_id = $merchant AND scenario = $scenario
),
rates AS (
    SELECT rates.currency, arg_max(rates.up, rates.day_from) AS up, arg_max(rates.down, rates.day_from) AS down
    FROM conversion_rates AS rates
    JOIN chosen ON chosen.reporting = rates.reporting AND rates.day_from <= chosen.rate_day
    GROUP BY rates.currency
)
SELECT
    held.customer_id, customers.name, customers.country, held.currency, held.mrr,
    CASE WHEN held.currency = chosen.reporting THEN held.mrr
        ELSE CAST(sign(held.mrr) * ((2 * CAST(abs(held.mrr) AS HUGEINT) * rates.up + rates.down) // (2 * rates.down))
            AS BIGINT) END AS reported,
    chosen.reporting, held.since, held.changed_at,
    {definition} AS definition
FROM (
    SELECT
        moves.customer_id, moves.currency, CAST(sum(moves.amount) AS BIGINT) AS mrr, min(moves.local_at) AS since,
        max(moves.local_at) AS changed_at
    FROM mrr_movements AS moves
    LEFT JOIN named ON named.customer_id = moves.customer_id
    WHERE moves.merchant_id = $merchant AND moves.scenario = $scenario AND moves.day <= $day
        AND {filtered}
        AND {listed}
    GROUP BY moves.customer_id, moves.currency
) AS held
CROSS JOIN chosen
LEFT JOIN rates ON rates.currency = held.currency
LEFT JOIN customers ON customers.merchant_id = $merchant AND customers.customer_id = held.customer_id
WHERE held.mrr <> 0
    AND ($find IS NULL OR customers.name ILIKE '%' || $find || '%' OR held.customer_id ILIKE '%' || $find || '%')
ORDER BY reported DESC NULLS LAST, held.mrr DESC, held.customer_id, held.currency
LIMIT $rows
