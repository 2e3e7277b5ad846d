-- What a page's numbers can be parted by, or nothing: slice_choices.sql with nothing first.
-- $merchant TEXT: whose
SELECT slice, text
FROM (
    SELECT 0 AS place, '' AS slice, 'nothing' AS text
    UNION ALL
    SELECT place, slice, text
    FROM (
        VALUES (1, 'product', 'product'), (2, 'price', 'price'), (3, 'plan_interval', 'interval'),
            (4, 'country', 'country'), (5, 'currency', 'currency'), (6, 'cohort', 'cohort')
    ) AS known (place, slice, text)
    UNION ALL
    SELECT DISTINCT 7, dimension, dimension
    FROM mrr_daily_by_dimension
    WHERE merchant_id = $merchant AND scenario = 'live'
        AND dimension NOT IN ('product', 'price', 'plan_interval', 'country', 'currency', 'cohort')
)
ORDER BY place, slice
