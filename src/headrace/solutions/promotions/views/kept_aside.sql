-- Rows that no other view counts, per stream: rejected (they break the contract) and late (behind the watermark).
SELECT stream, count(*) FILTER (WHERE reason = 'rejected') AS rejected, count(*) FILTER (WHERE reason = 'late') AS late
FROM (
    SELECT 'searches' AS stream, 'rejected' AS reason FROM searches__rejected
    UNION ALL
    SELECT 'searches' AS stream, 'late' AS reason FROM searches__late
    UNION ALL
    SELECT 'product_views' AS stream, 'rejected' AS reason FROM product_views__rejected
    UNION ALL
    SELECT 'product_views' AS stream, 'late' AS reason FROM product_views__late
    UNION ALL
    SELECT 'orders' AS stream, 'rejected' AS reason FROM orders__rejected
    UNION ALL
    SELECT 'orders' AS stream, 'late' AS reason FROM orders__late
    UNION ALL
    SELECT 'requests' AS stream, 'rejected' AS reason FROM requests__rejected
    UNION ALL
    SELECT 'requests' AS stream, 'late' AS reason FROM requests__late
    UNION ALL
    SELECT 'machine_metrics' AS stream, 'rejected' AS reason FROM machine_metrics__rejected
    UNION ALL
    SELECT 'machine_metrics' AS stream, 'late' AS reason FROM machine_metrics__late
    UNION ALL
    SELECT 'logs' AS stream, 'rejected' AS reason FROM logs__rejected
    UNION ALL
    SELECT 'logs' AS stream, 'late' AS reason FROM logs__late
) AS kept_aside
GROUP BY stream
