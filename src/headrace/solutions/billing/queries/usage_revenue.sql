-- Usage and its revenue per month, meter, product and currency: price x usage, before tax and discounts.
-- $merchant TEXT: whose
-- $scenario TEXT = live: by which settings
-- $since DATE: first month
-- $until DATE: last month
SELECT
    month, meter, product_id, currency, sum(units) AS units, CAST(sum(amount) AS BIGINT) AS amount,
    count(DISTINCT customer_id) AS customers,
    (SELECT coalesce(strftime(set_at, 'set %Y-%m-%d %H:%M'), 'defaults') FROM scenarios
     WHERE merchant_id = $merchant AND scenario = $scenario) AS definition
FROM usage_monthly
WHERE merchant_id = $merchant AND scenario = $scenario AND month BETWEEN date_trunc('month', $since) AND $until
GROUP BY month, meter, product_id, currency
ORDER BY month, meter, product_id, currency
