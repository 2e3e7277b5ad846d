-- The ledger before any setting: by how much the parts of an item's MRR change, and when.
--
-- Grain: one row per item, price, part and moment at which that part changes; sparse. A part is a standing of the
-- subscription (standing, leaving, paid) and a layer of the amount:
--     gross      what the item costs a month, without any discount
--     forever    less discounts that last forever
--     recurring  what subtracting discounts that last for some months changes beyond that
--     once       the same for discounts on one interval
--     both       what is left to correct where recurring and once discounts are both subtracted
-- The sum of the layers that a merchant subtracts is the item's MRR, rounded to minor units once, half away from
-- zero; so layers add up to the cent, whatever is chosen.
-- product_id, plan_interval  as the price is now
-- amount     change in minor units of `currency` a month
-- causes     bits: 1 start, 2 trial converted, 4 resumed, 8 payment recovered, 16 payment overdue, 32 paused,
--            64 cancelled, 128 cancelled for failed payment, 256 price changed for another, 512 quantity,
--            1024 the price itself changed, 2048 item added or removed, 4096 discount, 8192 first payment,
--            16384 cancellation withdrawn
WITH gross AS (
    SELECT
        merchant_id, customer_id, subscription_id, item_id, price_id, currency, standing, leaving, paid,
        'gross' AS layer,
        gross AS amount,
        since, until, began_by, ended_by
    FROM item_segments
),
layers AS (
    SELECT * FROM gross
    UNION ALL
    SELECT * FROM discount_segments
),
edges AS (
    SELECT
        merchant_id, customer_id, subscription_id, item_id, price_id, currency, standing, leaving, paid, layer,
        since AS happened_at, amount, began_by AS causes
    FROM layers
    WHERE amount <> 0
    UNION ALL
    SELECT
        merchant_id, customer_id, subscription_id, item_id, price_id, currency, standing, leaving, paid, layer,
        until AS happened_at, -amount AS amount, ended_by AS causes
    FROM layers
    WHERE amount <> 0 AND until < TIMESTAMP '9999-12-31'
),
parts AS (
    SELECT
        merchant_id, customer_id, subscription_id, item_id, price_id, currency, standing, leaving, paid, layer,
        happened_at,
        CAST(sum(amount) AS BIGINT) AS amount,
        bit_or(causes) AS causes
    FROM edges
    GROUP BY ALL
    HAVING sum(amount) <> 0
)
SELECT
    parts.merchant_id, parts.customer_id, parts.subscription_id, parts.item_id, parts.price_id, parts.currency,
    parts.standing, parts.leaving, parts.paid, parts.layer,
    prices.product_id,
    CASE WHEN prices.interval_count = 1 THEN prices.interval
        ELSE CAST(prices.interval_count AS VARCHAR) || ' ' || prices.interval || 's' END AS plan_interval,
    parts.happened_at, parts.amount, parts.causes
FROM parts
LEFT JOIN prices
    ON prices.merchant_id = parts.merchant_id AND prices.price_id = parts.price_id
