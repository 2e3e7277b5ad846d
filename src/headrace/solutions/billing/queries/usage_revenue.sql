-- Usage and its revenue per month, meter, product and currency: price x usage, before tax and discounts. What was not used
-- in a month has no row.
-- $merchant TEXT: whose
-- $scenario TEXT = live IN (live, {scenario_choices}): by which settings
-- $since DATE BETWEEN 1970-01-01 AND 2099-12-31: first month
-- $until DATE BETWEEN 1970-01-01 AND 2099-12-31: last month
-- $meter TEXT = NULL: one meter only
WITH told AS {usage_rows}
SELECT
    month, meter, product_id, currency, sum(units) AS units, CAST(sum(amount) AS BIGINT) AS amount,
    count(DISTINCT customer_id) AS customers,
    CAST(month + INTERVAL 1 MONTH AS DATE) - 1 AS last_day,
    {definition} AS definition,
    {sliced} AS slice,
    CASE WHEN $by IS NOT NULL THEN coalesce({sliced}, '(none)') END AS part
FROM told
WHERE ($meter IS NULL OR meter = $meter)
    AND {filtered}
GROUP BY month, meter, product_id, currency, slice, part
ORDER BY month, meter, product_id, currency, slice
