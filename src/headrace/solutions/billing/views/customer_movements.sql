-- What happened to a customer's MRR at a moment, per currency: the customer's net change decides what it is called.
--
-- Grain: one row per merchant, scenario, customer, currency and moment.
-- type    `new`, `reactivation` and `churn` where the customer's whole MRR comes from or goes to nothing; else by the
--         net change in this currency `expansion`, `contraction`, or `transfer` where its items cancel out
-- amount  net change; up and down are the sums of the items that went up and down
WITH nets AS (
    SELECT
        merchant_id, scenario, customer_id, currency, happened_at,
        CAST(sum(amount) AS BIGINT) AS amount,
        CAST(sum(CASE WHEN amount > 0 THEN amount ELSE 0 END) AS BIGINT) AS up
    FROM mrr_changes
    GROUP BY merchant_id, scenario, customer_id, currency, happened_at
)
SELECT
    nets.merchant_id,
    nets.scenario,
    nets.customer_id,
    nets.currency,
    nets.happened_at,
    CASE
        WHEN moments.kind <> 'change' THEN moments.kind
        WHEN nets.amount > 0 THEN 'expansion'
        WHEN nets.amount < 0 THEN 'contraction'
        ELSE 'transfer'
    END AS type,
    nets.amount,
    nets.up,
    nets.amount - nets.up AS down
FROM nets
JOIN customer_moments AS moments
    ON moments.merchant_id = nets.merchant_id AND moments.scenario = nets.scenario
    AND moments.customer_id = nets.customer_id AND moments.happened_at = nets.happened_at
