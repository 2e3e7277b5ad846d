-- How many sessions that searched (and how many that viewed a product) led to an order: the same buyer placed an order
-- at the moment of one of the session's searches (views), or within 30 minutes after it. Each session counts once per
-- source. Sessions without a buyer count as sessions and never as converted. A cancelled order still was an order.
WITH placed AS (
    SELECT DISTINCT order_id, buyer_id, occurred_at FROM orders WHERE kind = 'sale'
),
reached AS (
    SELECT 'search' AS source, session_id, FALSE AS ordered FROM searches
    UNION ALL
    SELECT 'view' AS source, session_id, FALSE AS ordered FROM product_views
    UNION ALL
    SELECT 'search' AS source, searches.session_id, TRUE AS ordered
    FROM searches
    JOIN placed ON placed.buyer_id = searches.buyer_id
        AND placed.occurred_at >= searches.searched_at
        AND placed.occurred_at <= searches.searched_at + INTERVAL 30 MINUTE
    UNION ALL
    SELECT 'view' AS source, product_views.session_id, TRUE AS ordered
    FROM product_views
    JOIN placed ON placed.buyer_id = product_views.buyer_id
        AND placed.occurred_at >= product_views.viewed_at
        AND placed.occurred_at <= product_views.viewed_at + INTERVAL 30 MINUTE
)
SELECT
    source,
    count(DISTINCT session_id) AS sessions,
    count(DISTINCT session_id) FILTER (WHERE ordered) AS converted,
    count(DISTINCT session_id) FILTER (WHERE ordered) / count(DISTINCT session_id) AS rate
FROM reached
GROUP BY source
