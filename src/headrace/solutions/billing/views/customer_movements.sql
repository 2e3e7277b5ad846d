-- What happened to a customer's MRR at a moment, per currency: the sum of what happened to its items.
--
-- Grain: one row per merchant, scenario, customer, currency and moment.
-- type    that of the movements, which the customer's net change has decided; `transfer` where its items cancel out
-- amount  net change; up and down are the sums of the items that went up and down
SELECT
    merchant_id,
    scenario,
    customer_id,
    currency,
    happened_at,
    CASE
        WHEN count(*) FILTER (WHERE type = 'new') > 0 THEN 'new'
        WHEN count(*) FILTER (WHERE type = 'reactivation') > 0 THEN 'reactivation'
        WHEN count(*) FILTER (WHERE type = 'churn') > 0 THEN 'churn'
        WHEN sum(amount) > 0 THEN 'expansion'
        WHEN sum(amount) < 0 THEN 'contraction'
        ELSE 'transfer'
    END AS type,
    CAST(sum(amount) AS BIGINT) AS amount,
    CAST(sum(greatest(amount, 0)) AS BIGINT) AS up,
    CAST(sum(least(amount, 0)) AS BIGINT) AS down
FROM mrr_movements
GROUP BY merchant_id, scenario, customer_id, currency, happened_at
