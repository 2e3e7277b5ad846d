-- Items' changes where a customer's items go up and down at one moment: who takes up how much of the net change.
--
-- What the customer gained or lost as a whole goes to the items that went its way, in the order of their ids; the
-- rest only moved from item to item.
-- Grain: one row per merchant, scenario, item, price and moment.
-- moved   the customer's movement; part is what the item has of it, and amount - part moved from or to other items
WITH items AS (
    SELECT changes.*, movements.type AS moved, movements.amount AS net, movements.first_at
    FROM mrr_changes AS changes
    JOIN customer_movements AS movements
        ON movements.merchant_id = changes.merchant_id AND movements.scenario = changes.scenario
        AND movements.customer_id = changes.customer_id AND movements.currency = changes.currency
        AND movements.happened_at = changes.happened_at
    WHERE movements.up <> 0 AND movements.down <> 0
),
lined_up AS (
    SELECT
        *,
        CASE WHEN net > 0 THEN greatest(amount, 0) ELSE greatest(-amount, 0) END AS along,
        CAST(sum(CASE WHEN net > 0 THEN greatest(amount, 0) ELSE greatest(-amount, 0) END) OVER (
            PARTITION BY merchant_id, scenario, customer_id, currency, happened_at ORDER BY item_id, price_id
        ) AS BIGINT) AS along_until
    FROM items
)
SELECT
    merchant_id, scenario, customer_id, subscription_id, item_id, price_id, currency, happened_at, first_at,
    moved, amount, net, causes,
    CASE
        WHEN net > 0 THEN greatest(0, least(along, net - (along_until - along)))
        WHEN net < 0 THEN -greatest(0, least(along, -net - (along_until - along)))
        ELSE 0
    END AS part
FROM lined_up
