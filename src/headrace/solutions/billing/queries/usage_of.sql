-- Who used what in which month, and what it is worth: the rows behind usage revenue, the largest first.
-- $merchant TEXT: whose
-- $scenario TEXT = live IN (live, {scenario_choices}): by which settings
-- $since DATE BETWEEN 1970-01-01 AND 2099-12-31: first month
-- $until DATE BETWEEN 1970-01-01 AND 2099-12-31: last month
-- $meter TEXT = NULL: one meter only
-- $rows INTEGER = 1000 BETWEEN 0 AND 10000000: how many
WITH told AS {usage_rows}
SELECT
    month, customer_id, name, country, meter, item_id, price_id, product_id, plan_interval, currency, units, amount,
    {definition} AS definition
FROM told
WHERE ($meter IS NULL OR meter = $meter)
    AND {filtered}
    AND {listed}
ORDER BY month DESC, amount DESC, customer_id, item_id, price_id
LIMIT $rows
