-- Each item's share of its customer's movement. Where all items go one way, each keeps its amount under the
-- movement's type. Where some go up and others down (opposed_items.sql), what the customer gained or lost as a whole
-- is the movement, and the rest is called `transfer in` and `transfer out`: it sums to zero per customer, currency
-- and moment, and so every slice (product, price, country) adds up to the total.
--
-- Grain: one row per merchant, scenario, item, price, moment and type.
-- net     what the customer's MRR changed by; first_at when the customer first had any
-- causes  bits as in mrr_parts.sql
SELECT
    changes.merchant_id, changes.scenario, changes.customer_id, changes.subscription_id, changes.item_id,
    changes.price_id, changes.currency, changes.happened_at, movements.first_at,
    movements.type, changes.amount, movements.amount AS net, changes.causes
FROM mrr_changes AS changes
JOIN customer_movements AS movements
    ON movements.merchant_id = changes.merchant_id AND movements.scenario = changes.scenario
    AND movements.customer_id = changes.customer_id AND movements.currency = changes.currency
    AND movements.happened_at = changes.happened_at
WHERE movements.up = 0 OR movements.down = 0
UNION ALL
SELECT
    merchant_id, scenario, customer_id, subscription_id, item_id, price_id, currency, happened_at, first_at,
    moved AS type, part AS amount, net, causes
FROM opposed_items
WHERE part <> 0
UNION ALL
SELECT
    merchant_id, scenario, customer_id, subscription_id, item_id, price_id, currency, happened_at, first_at,
    CASE WHEN amount > part THEN 'transfer in' ELSE 'transfer out' END AS type, amount - part AS amount, net, causes
FROM opposed_items
WHERE amount <> part
