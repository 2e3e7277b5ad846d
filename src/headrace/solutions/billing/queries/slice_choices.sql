-- What a merchant's numbers can be parted by: what everyone has, then the merchant's own dimensions of customers.
-- $merchant TEXT: whose
SELECT slice, text
FROM (
    SELECT 0 AS own, place, slice, text
    FROM (
        VALUES (1, 'product', 'product'), (2, 'price', 'price'), (3, 'plan_interval', 'interval'),
            (4, 'country', 'country'), (5, 'currency', 'currency'), (6, 'cohort', 'cohort')
    ) AS known (place, slice, text)
    UNION ALL
    SELECT DISTINCT 1, 0, dimension, dimension
    FROM mrr_daily_by_dimension
    WHERE merchant_id = $merchant AND scenario = 'live'
        AND dimension NOT IN ('product', 'price', 'plan_interval', 'country', 'currency', 'cohort')
)
ORDER BY own, place, slice
