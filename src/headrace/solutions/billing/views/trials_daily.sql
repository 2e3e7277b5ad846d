-- Trials that started and ended, per local day.
--
-- A trial is a stretch of a subscription's being `trialing`; several in a row without a break are one. It converts
-- when the subscription is active or past due directly after; one that is paused when its trial ends, for want of a
-- payment method, has not converted, and has not churned.
-- Grain: one row per merchant, scenario, day, country, event and outcome.
-- event    started, or ended with outcome converted, paused or cancelled
-- trials   how many
WITH turns AS (
    SELECT merchant_id, customer_id, since AS turned_at, 'started' AS event, '' AS outcome
    FROM subscription_stretches
    WHERE standing = 'trialing' AND before_standing IS DISTINCT FROM 'trialing'
    UNION ALL
    SELECT
        merchant_id, customer_id, until AS turned_at, 'ended' AS event,
        CASE WHEN after_standing IN ('active', 'past_due') THEN 'converted'
            WHEN after_standing = 'paused' THEN 'paused' ELSE 'cancelled' END AS outcome
    FROM subscription_stretches
    WHERE standing = 'trialing' AND until < TIMESTAMP '9999-12-31' AND after_standing IS DISTINCT FROM 'trialing'
)
SELECT
    turns.merchant_id,
    scenarios.scenario,
    CAST(timezone(scenarios.time_zone, timezone('UTC', turns.turned_at)) AS DATE) AS day,
    customers.country,
    turns.event,
    turns.outcome,
    count(*) AS trials
FROM turns
LEFT JOIN customers
    ON customers.merchant_id = turns.merchant_id AND customers.customer_id = turns.customer_id
JOIN scenarios ON scenarios.merchant_id = turns.merchant_id
GROUP BY ALL
