-- All prices, with the interval as it is shown.
-- $merchant TEXT: whose
SELECT
    price_id, product_id, currency,
    CASE WHEN interval_count = 1 THEN interval
        ELSE CAST(interval_count AS VARCHAR) || ' ' || interval || 's' END AS plan_interval
FROM prices
WHERE merchant_id = $merchant
