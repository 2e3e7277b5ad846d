-- The changes of items beside what happened to their customer at that moment.
--
-- Grain: as mrr_changes.sql. type, net, up and down are the customer's, see customer_movements.sql.
SELECT
    changes.merchant_id, changes.scenario, changes.customer_id, changes.subscription_id, changes.item_id,
    changes.price_id, changes.product_id, changes.plan_interval, changes.currency, changes.happened_at,
    movements.type, changes.amount, movements.amount AS net, movements.up, movements.down, changes.causes
FROM mrr_changes AS changes
JOIN customer_movements AS movements
    ON movements.merchant_id = changes.merchant_id AND movements.scenario = changes.scenario
    AND movements.customer_id = changes.customer_id AND movements.currency = changes.currency
    AND movements.happened_at = changes.happened_at
