-- What a customer's MRR as a whole does at each moment at which it changes, which decides the type of the movement.
-- By how much, and what it is before and after, is not said here: nearly every setting and every late fact would move
-- such a row, and with it all that is joined to it; what a moment is called changes far more rarely.
--
-- Grain: one row per merchant, scenario, customer and moment. Amounts of several currencies are added as they are:
-- these sums only ever say whether there is any MRR at all.
-- kind         `new`: for the first time, or so long after the last that the scenario calls it new; `reactivation`;
--              `churn`: nothing is left; `change`: up or down, see mrr_movements.sql
-- involuntary  whether a payment that is overdue or failed is among the causes
WITH moments AS (
    SELECT
        merchant_id, scenario, customer_id, happened_at,
        CAST(sum(amount) AS BIGINT) AS amount,
        count(*) FILTER (WHERE causes // 16 % 2 = 1 OR causes // 128 % 2 = 1) > 0 AS involuntary
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
),
-- Without amounts, and before a setting is asked: what did not turn ends here.
turns AS (
    SELECT
        merchant_id, scenario, customer_id, happened_at, involuntary,
        CASE
            WHEN mrr_after = amount AND previous_at IS NULL THEN 'new'
            WHEN mrr_after = amount THEN 'reactivation'
            WHEN mrr_after = 0 THEN 'churn'
            ELSE 'change'
        END AS turn,
        CASE WHEN mrr_after = amount THEN previous_at END AS gone_at
    FROM running
)
SELECT
    turns.merchant_id,
    turns.scenario,
    turns.customer_id,
    turns.happened_at,
    turns.involuntary,
    CASE
        WHEN turns.turn = 'reactivation'
            AND turns.happened_at > turns.gone_at + to_days(CAST(scenarios.reactivation_days AS INTEGER)) THEN 'new'
        ELSE turns.turn
    END AS kind
FROM turns
JOIN scenarios
    ON scenarios.merchant_id = turns.merchant_id AND scenarios.scenario = turns.scenario
