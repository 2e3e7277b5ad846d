-- What a customer's MRR as a whole does at each moment at which it changes, which decides the type of the movement.
-- How much it is before and after is not said here: one change would move every row after it.
--
-- Grain: one row per merchant, scenario, customer and moment. Amounts of several currencies are added as they are:
-- these sums only ever say whether there is any MRR at all.
-- kind         `new`: for the first time, or so long after the last that the scenario calls it new; `reactivation`;
--              `churn`: nothing is left; `change`: up or down, see customer_movements.sql
WITH moments AS (
    SELECT
        merchant_id, scenario, customer_id, happened_at,
        CAST(sum(amount) AS BIGINT) AS amount,
        bit_or(causes) AS causes
    FROM mrr_changes
    GROUP BY merchant_id, scenario, customer_id, happened_at
),
running AS (
    SELECT
        *,
        CAST(sum(amount) OVER course AS BIGINT) AS mrr_after,
        lag(happened_at) OVER course AS previous_at
    FROM moments
    WINDOW course AS (PARTITION BY merchant_id, scenario, customer_id ORDER BY happened_at)
)
SELECT
    running.merchant_id,
    running.scenario,
    running.customer_id,
    running.happened_at,
    running.causes,
    CASE
        WHEN running.mrr_after = running.amount AND running.previous_at IS NULL THEN 'new'
        WHEN running.mrr_after = running.amount
            AND running.happened_at > running.previous_at + to_days(CAST(scenarios.reactivation_days AS INTEGER))
            THEN 'new'
        WHEN running.mrr_after = running.amount THEN 'reactivation'
        WHEN running.mrr_after = 0 THEN 'churn'
        ELSE 'change'
    END AS kind
FROM running
JOIN scenarios
    ON scenarios.merchant_id = running.merchant_id AND scenarios.scenario = running.scenario
