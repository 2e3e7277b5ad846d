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
--
-- Each item has a share of its customer's movement. Where all items go one way, each keeps its amount under the
-- movement's type. Where some go up and others down, what the customer gained or lost as a whole goes to the items
-- that went its way, in the order of their ids (`part`); the rest only moved from item to item, and sums to zero per
-- customer, currency and moment, so that every slice (product, price, country) adds up to the total.
WITH lined_up AS (
    SELECT
        *,
        CASE WHEN net > 0 THEN greatest(amount, 0) ELSE greatest(-amount, 0) END AS along,
        CAST(sum(CASE WHEN net > 0 THEN greatest(amount, 0) ELSE greatest(-amount, 0) END) OVER (
            PARTITION BY merchant_id, scenario, customer_id, currency, happened_at ORDER BY item_id, price_id
        ) AS BIGINT) AS along_until
    FROM moved_items
    WHERE up <> 0 AND down <> 0
),
parted AS (
    SELECT
        *,
        CASE
            WHEN net > 0 THEN greatest(0, least(along, net - (along_until - along)))
            WHEN net < 0 THEN -greatest(0, least(along, -net - (along_until - along)))
            ELSE 0
        END AS part,
        unnest([TRUE, FALSE]) AS is_part
    FROM lined_up
),
items AS (
    SELECT
        merchant_id, scenario, customer_id, subscription_id, item_id, price_id, product_id, plan_interval, currency,
        happened_at, type, amount, net, causes
    FROM moved_items
    WHERE up = 0 OR down = 0
    UNION ALL
    SELECT
        merchant_id, scenario, customer_id, subscription_id, item_id, price_id, product_id, plan_interval, currency,
        happened_at,
        CASE WHEN is_part THEN type WHEN amount > part THEN 'transfer in' ELSE 'transfer out' END AS type,
        CASE WHEN is_part THEN part ELSE amount - part END AS amount, net, causes
    FROM parted
    WHERE CASE WHEN is_part THEN part ELSE amount - part END <> 0
)
SELECT
    items.merchant_id,
    items.scenario,
    items.happened_at,
    timezone(cohorts.time_zone, timezone('UTC', items.happened_at)) AS local_at,
    CAST(timezone(cohorts.time_zone, timezone('UTC', items.happened_at)) AS DATE) AS day,
    items.customer_id,
    items.subscription_id,
    items.item_id,
    items.price_id,
    items.product_id,
    items.plan_interval,
    cohorts.country,
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
    cohorts.cohort_month
FROM items
JOIN customer_cohorts AS cohorts
    ON cohorts.merchant_id = items.merchant_id AND cohorts.scenario = items.scenario
    AND cohorts.customer_id = items.customer_id
