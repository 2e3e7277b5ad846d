-- Stretches of time in which a subscription's item had one price and one quantity.
--
-- Grain: one row per stretch. until is 9999-12-31 where no end is known; began_by and ended_by as in mrr_parts.sql.
WITH versions AS (
    SELECT merchant_id, item_id, subscription_id, price_id, coalesce(quantity, 1) AS quantity, valid_from, valid_to
    FROM subscription_items__history
    WHERE valid_to IS NULL OR valid_from < valid_to
),
marks AS (
    SELECT merchant_id, item_id, subscription_id, price_id, quantity, valid_from AS marked_at, 1 AS turn
    FROM versions
    UNION ALL
    SELECT merchant_id, item_id, subscription_id, price_id, quantity, valid_to AS marked_at, -1 AS turn
    FROM versions
    WHERE valid_to IS NOT NULL
),
turns AS (
    SELECT merchant_id, item_id, subscription_id, price_id, quantity, marked_at, CAST(sum(turn) AS BIGINT) AS turn
    FROM marks
    GROUP BY merchant_id, item_id, subscription_id, price_id, quantity, marked_at
    HAVING sum(turn) <> 0
),
neighbours AS (
    SELECT
        *,
        lag(marked_at) OVER course AS before_at,
        lag(price_id) OVER course AS before_price_id,
        lead(marked_at) OVER course AS end_at,
        lead(marked_at, 2) OVER course AS after_at,
        lead(price_id, 2) OVER course AS after_price_id
    FROM turns
    WINDOW course AS (PARTITION BY merchant_id, item_id ORDER BY marked_at, turn)
)
SELECT
    merchant_id,
    item_id,
    subscription_id,
    price_id,
    quantity,
    marked_at AS since,
    coalesce(end_at, TIMESTAMP '9999-12-31') AS until,
    CASE
        WHEN before_at IS DISTINCT FROM marked_at THEN 2048
        WHEN before_price_id <> price_id THEN 256
        ELSE 512
    END AS began_by,
    CASE
        WHEN end_at IS NULL THEN 0
        WHEN after_at IS DISTINCT FROM end_at THEN 2048
        WHEN after_price_id <> price_id THEN 256
        ELSE 512
    END AS ended_by
FROM neighbours
WHERE turn > 0
