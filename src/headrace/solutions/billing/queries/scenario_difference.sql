-- What another scenario's settings would change on a day, customer by customer, the largest differences first, whatever
-- the currency: they are compared at the newest rates into the reporting one. Amounts are minor units of `currency`.
-- $merchant TEXT: whose
-- $day DATE BETWEEN 1970-01-01 AND 2099-12-31: as of the end of which day
-- $scenario TEXT = live IN (live, {scenario_choices}): the settings in force
-- $other TEXT IN (preview, {scenario_choices}): the settings to compare with; no rows while there is no `preview`
-- $rows INTEGER = 100 BETWEEN 0 AND 10000000: how many customers
WITH held AS (
    SELECT
        customer_id, currency,
        coalesce(sum(amount) FILTER (WHERE scenario = $scenario), 0) AS mrr,
        coalesce(sum(amount) FILTER (WHERE scenario = $other), 0) AS other_mrr
    FROM mrr_movements
    WHERE merchant_id = $merchant AND scenario IN ($scenario, $other) AND day <= $day
    GROUP BY customer_id, currency
)
SELECT
    held.customer_id, customers.name, held.currency,
    CAST(held.mrr AS BIGINT) AS mrr,
    CAST(held.other_mrr AS BIGINT) AS other_mrr,
    CAST(held.other_mrr - held.mrr AS BIGINT) AS difference,
    (SELECT coalesce(strftime(set_at, 'set %Y-%m-%d %H:%M'), 'defaults') FROM scenarios
     WHERE merchant_id = $merchant AND scenario = $other) AS definition
FROM held
LEFT JOIN customers ON customers.merchant_id = $merchant AND customers.customer_id = held.customer_id
LEFT JOIN (
    SELECT currency, up, down FROM conversion_rates
    WHERE is_latest AND reporting = (
        SELECT reporting_currency FROM scenarios WHERE merchant_id = $merchant AND scenario = $scenario)
) AS rates ON rates.currency = held.currency
WHERE held.mrr <> held.other_mrr
    AND $other IN (SELECT scenario FROM scenarios WHERE merchant_id = $merchant)
ORDER BY abs(held.other_mrr - held.mrr) * coalesce(rates.up / rates.down, 1.0) DESC, held.customer_id, held.currency
LIMIT $rows
