-- Usage and its revenue per month, meter, product and currency: price x usage, before tax and discounts.
-- $merchant TEXT: whose
-- $scenario TEXT = live: by which settings
-- $since DATE: first month
-- $until DATE: last month
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
