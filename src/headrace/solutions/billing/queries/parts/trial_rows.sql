-- Trials that started or ended, one row for each item of the subscription at that moment, or one without.
-- $merchant TEXT: whose
-- $scenario TEXT = live IN (live, {scenario_choices}): by which settings
WITH turned AS (
    SELECT
        subscription_id, customer_id, since AS turned_at, since AS item_at, 'started' AS event, '' AS outcome
    FROM subscription_stretches
    WHERE merchant_id = $merchant AND standing = 'trialing' AND before_standing IS DISTINCT FROM 'trialing'
    UNION ALL
    SELECT
        subscription_id, customer_id, until AS turned_at, until - INTERVAL 1 MICROSECOND AS item_at, 'ended' AS event,
        CASE WHEN after_standing IN ('active', 'past_due') THEN 'converted'
            WHEN after_standing = 'paused' THEN 'paused' ELSE 'cancelled' END AS outcome
    FROM subscription_stretches
    WHERE merchant_id = $merchant AND standing = 'trialing' AND until < TIMESTAMP '9999-12-31'
        AND after_standing IS DISTINCT FROM 'trialing'
),
people AS {people},
goods AS {goods}
SELECT
    turned.subscription_id, turned.customer_id, turned.turned_at, turned.event, turned.outcome,
    timezone(scenarios.time_zone, timezone('UTC', turned.turned_at)) AS local_at,
    items.price_id, goods.product_id, goods.plan_interval, goods.currency, people.country, people.cohort_month,
    people.named, people.name
FROM turned
JOIN scenarios ON scenarios.merchant_id = $merchant AND scenarios.scenario = $scenario
LEFT JOIN people ON people.customer_id = turned.customer_id
LEFT JOIN item_stretches AS items
    ON items.merchant_id = $merchant AND items.subscription_id = turned.subscription_id
    AND items.since <= turned.item_at AND turned.item_at < items.until
LEFT JOIN goods ON goods.price_id = items.price_id
