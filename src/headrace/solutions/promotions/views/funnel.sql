-- Sessions that came this far, each counted once per step. 1: searched. 2: viewed a product at or after their first
-- search. 3: the buyer placed an order at, or within 30 minutes after, one of those views.
WITH first_search AS (
    SELECT session_id, min(searched_at) AS searched_at FROM searches GROUP BY session_id
),
viewed AS (
    SELECT product_views.session_id, product_views.buyer_id, product_views.viewed_at
    FROM product_views
    JOIN first_search ON first_search.session_id = product_views.session_id
        AND product_views.viewed_at >= first_search.searched_at
),
placed AS (
    SELECT DISTINCT order_id, buyer_id, occurred_at FROM orders WHERE kind = 'sale'
),
ordered AS (
    SELECT viewed.session_id
    FROM viewed
    JOIN placed ON placed.buyer_id = viewed.buyer_id
        AND placed.occurred_at >= viewed.viewed_at
        AND placed.occurred_at <= viewed.viewed_at + INTERVAL 30 MINUTE
)
SELECT 1 AS step, 'searched' AS stage, count(*) AS sessions FROM first_search
UNION ALL
SELECT 2 AS step, 'viewed a product' AS stage, count(DISTINCT session_id) AS sessions FROM viewed
UNION ALL
SELECT 3 AS step, 'ordered' AS stage, count(DISTINCT session_id) AS sessions FROM ordered
