-- The events behind a movement: the versions of subscription, item, price and discount that begin or end at its
-- moment.
-- $merchant TEXT: whose
-- $subscription TEXT: of which subscription
-- $happened_at TIMESTAMP: the moment, UTC
SELECT 'subscriptions' AS relation, subscription_id AS id, seq, valid_from, valid_to, status AS what
FROM subscriptions__history
WHERE merchant_id = $merchant AND subscription_id = $subscription
    AND (valid_from = $happened_at OR valid_to = $happened_at)
UNION ALL
SELECT
    'subscription_items' AS relation, item_id AS id, seq, valid_from, valid_to, price_id || ' x ' || quantity AS what
FROM subscription_items__history
WHERE merchant_id = $merchant AND subscription_id = $subscription
    AND (valid_from = $happened_at OR valid_to = $happened_at)
UNION ALL
SELECT 'discounts' AS relation, discount_id AS id, seq, starts_at AS valid_from, ends_at AS valid_to, duration AS what
FROM discounts
WHERE merchant_id = $merchant AND (starts_at = $happened_at OR ends_at = $happened_at)
    AND (subscription_id = $subscription OR subscription_id IS NULL AND customer_id IN (
        SELECT customer_id FROM subscriptions__history
        WHERE merchant_id = $merchant AND subscription_id = $subscription))
UNION ALL
SELECT 'prices' AS relation, price_id AS id, seq, valid_from, valid_to, 'price' AS what
FROM prices__history
WHERE merchant_id = $merchant AND valid_from = $happened_at AND price_id IN (
    SELECT price_id FROM subscription_items__history
    WHERE merchant_id = $merchant AND subscription_id = $subscription)
ORDER BY relation, id, seq
