-- By how much the MRR of an item changes under a scenario's settings, and when: the parts that it selects, added up.
--
-- Grain: one row per merchant, scenario, item, price and moment; sparse, no row where the parts cancel. The sum of
-- `amount` up to a moment is the item's MRR at that moment. causes as in mrr_parts.sql.
SELECT
    parts.merchant_id,
    selected.scenario,
    parts.customer_id,
    parts.subscription_id,
    parts.item_id,
    parts.price_id,
    parts.product_id,
    parts.plan_interval,
    parts.currency,
    parts.happened_at,
    CAST(sum(parts.amount) AS BIGINT) AS amount,
    bit_or(parts.causes) AS causes
FROM mrr_parts AS parts
JOIN mrr_selected AS selected
    ON selected.merchant_id = parts.merchant_id AND selected.standing = parts.standing
    AND selected.leaving = parts.leaving AND selected.paid = parts.paid AND selected.layer = parts.layer
GROUP BY ALL
HAVING sum(parts.amount) <> 0
