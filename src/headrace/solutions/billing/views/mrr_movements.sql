-- The ledger of MRR movements: why MRR is what it is. MRR on a day is the sum of `amount` over all rows up to it.
--
-- Grain: one row per merchant, scenario, item, price, moment and type; sparse.
-- happened_at      UTC; local_at and day are in the scenario's time zone
-- type             new, reactivation, expansion, contraction, churn; transfer in and transfer out sum to zero per
--                  customer and moment, and are left out of totals
-- amount           change of MRR in minor units of `currency`
-- cause            what made it happen; the versions of the tables' histories with valid_from = happened_at for the
--                  same subscription, item or price are the events behind it, see queries/events_behind.sql
-- product_id, plan_interval, country, dimensions  as the price and the customer are now
-- cohort_month     month in which the customer first had MRR
SELECT
    items.merchant_id,
    items.scenario,
    items.happened_at,
    timezone(scenarios.time_zone, timezone('UTC', items.happened_at)) AS local_at,
    CAST(timezone(scenarios.time_zone, timezone('UTC', items.happened_at)) AS DATE) AS day,
    items.customer_id,
    items.subscription_id,
    items.item_id,
    items.price_id,
    prices.product_id,
    CASE WHEN prices.interval_count = 1 THEN prices.interval
        ELSE prices.interval_count || ' ' || prices.interval || 's' END AS plan_interval,
    customers.country,
    items.currency,
    items.type,
    items.amount,
    CASE
        WHEN items.causes // 128 % 2 = 1 THEN 'failed payment'
        WHEN items.causes // 64 % 2 = 1 THEN 'cancellation'
        WHEN items.causes // 32 % 2 = 1 THEN 'pause'
        WHEN items.causes // 16 % 2 = 1 THEN 'overdue'
        WHEN items.causes // 2 % 2 = 1 THEN 'trial converted'
        WHEN items.causes // 8192 % 2 = 1 THEN 'first payment'
        WHEN items.causes // 1 % 2 = 1 THEN 'start'
        WHEN items.causes // 4 % 2 = 1 THEN 'resume'
        WHEN items.causes // 8 % 2 = 1 THEN 'recovery'
        WHEN items.causes // 16384 % 2 = 1 THEN 'cancellation withdrawn'
        WHEN items.causes // 256 % 2 = 1 AND items.net > 0 THEN 'upgrade'
        WHEN items.causes // 256 % 2 = 1 THEN 'downgrade'
        WHEN items.causes // 512 % 2 = 1 THEN 'quantity'
        WHEN items.causes // 1024 % 2 = 1 THEN 'price change'
        WHEN items.causes // 2048 % 2 = 1 AND items.net > 0 THEN 'item added'
        WHEN items.causes // 2048 % 2 = 1 THEN 'item removed'
        WHEN items.causes // 4096 % 2 = 1 AND items.net > 0 THEN 'discount ended'
        WHEN items.causes // 4096 % 2 = 1 THEN 'discount started'
        ELSE 'other'
    END AS cause,
    CAST(date_trunc('month', timezone(scenarios.time_zone, timezone('UTC', items.first_at))) AS DATE) AS cohort_month
FROM item_movements AS items
LEFT JOIN prices
    ON prices.merchant_id = items.merchant_id AND prices.price_id = items.price_id
LEFT JOIN customers
    ON customers.merchant_id = items.merchant_id AND customers.customer_id = items.customer_id
JOIN scenarios
    ON scenarios.merchant_id = items.merchant_id AND scenarios.scenario = items.scenario
