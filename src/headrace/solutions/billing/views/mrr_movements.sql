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
WITH nets AS (
    SELECT
        merchant_id, scenario, customer_id, currency, happened_at,
        CAST(sum(amount) AS BIGINT) AS net,
        count(*) FILTER (WHERE amount > 0) AS ups,
        count(*) FILTER (WHERE amount < 0) AS downs
    FROM mrr_changes
    GROUP BY merchant_id, scenario, customer_id, currency, happened_at
),
-- Amounts are told only where items went both ways: elsewhere nothing here changes when they do.
-- form  0: all went one way; 1: one item went the way of the whole, or the whole went nowhere; 2: several did
ways AS (
    SELECT
        merchant_id, scenario, customer_id, currency, happened_at,
        CASE WHEN ups > 0 AND downs > 0 THEN net END AS net,
        CASE
            WHEN ups = 0 OR downs = 0 THEN 0
            WHEN net > 0 AND ups > 1 OR net < 0 AND downs > 1 THEN 2
            ELSE 1
        END AS form
    FROM nets
),
named AS (
    SELECT
        ways.merchant_id, ways.scenario, ways.customer_id, ways.currency, ways.happened_at, ways.net, ways.form,
        moments.kind, cohorts.country, cohorts.cohort_month,
        timezone(cohorts.time_zone, timezone('UTC', ways.happened_at)) AS local_at
    FROM ways
    JOIN customer_moments AS moments
        ON moments.merchant_id = ways.merchant_id AND moments.scenario = ways.scenario
        AND moments.customer_id = ways.customer_id AND moments.happened_at = ways.happened_at
    JOIN customer_cohorts AS cohorts
        ON cohorts.merchant_id = moments.merchant_id AND cohorts.scenario = moments.scenario
        AND cohorts.customer_id = moments.customer_id
),
-- piece  0: the item as a whole; 1: its part of the movement; 2: the rest of it; 3: still to be divided into those two
pieces AS (
    SELECT
        changes.merchant_id, changes.scenario, changes.customer_id, changes.subscription_id, changes.item_id,
        changes.price_id, changes.product_id, changes.plan_interval, changes.currency, changes.happened_at,
        changes.amount, changes.causes, named.net, named.kind, named.country, named.cohort_month, named.local_at,
        unnest(CASE named.form WHEN 0 THEN [0] WHEN 1 THEN [1, 2] ELSE [3] END) AS piece
    FROM mrr_changes AS changes
    JOIN named
        ON named.merchant_id = changes.merchant_id AND named.scenario = changes.scenario
        AND named.customer_id = changes.customer_id AND named.currency = changes.currency
        AND named.happened_at = changes.happened_at
),
lined_up AS (
    SELECT
        *,
        CASE WHEN net > 0 THEN greatest(amount, 0) ELSE greatest(-amount, 0) END AS along,
        CAST(sum(CASE WHEN net > 0 THEN greatest(amount, 0) ELSE greatest(-amount, 0) END) OVER (
            PARTITION BY merchant_id, scenario, customer_id, currency, happened_at ORDER BY item_id, price_id
        ) AS BIGINT) AS along_until
    FROM pieces
    WHERE piece = 3
),
parted AS (
    SELECT
        merchant_id, scenario, customer_id, subscription_id, item_id, price_id, product_id, plan_interval, currency,
        happened_at, amount, causes, net, kind, country, cohort_month, local_at,
        CASE
            WHEN net > 0 THEN greatest(0, least(along, net - (along_until - along)))
            ELSE -greatest(0, least(along, -net - (along_until - along)))
        END AS part,
        unnest([1, 2]) AS piece
    FROM lined_up
    UNION ALL
    SELECT
        merchant_id, scenario, customer_id, subscription_id, item_id, price_id, product_id, plan_interval, currency,
        happened_at, amount, causes, net, kind, country, cohort_month, local_at,
        CASE WHEN (net > 0 AND amount > 0) OR (net < 0 AND amount < 0) THEN net ELSE 0 END AS part,
        piece
    FROM pieces
    WHERE piece <> 3
),
items AS (
    SELECT
        *,
        CASE piece WHEN 0 THEN amount WHEN 1 THEN part ELSE amount - part END AS moved,
        coalesce(net, amount) > 0 AS rises
    FROM parted
)
SELECT
    merchant_id,
    scenario,
    happened_at,
    local_at,
    CAST(local_at AS DATE) AS day,
    customer_id,
    subscription_id,
    item_id,
    price_id,
    product_id,
    plan_interval,
    country,
    currency,
    CASE
        WHEN piece = 2 AND moved > 0 THEN 'transfer in'
        WHEN piece = 2 THEN 'transfer out'
        WHEN kind <> 'change' THEN kind
        WHEN rises THEN 'expansion'
        ELSE 'contraction'
    END AS type,
    moved AS amount,
    CASE
        WHEN causes // 128 % 2 = 1 THEN 'failed payment'
        WHEN causes // 64 % 2 = 1 THEN 'cancellation'
        WHEN causes // 32 % 2 = 1 THEN 'pause'
        WHEN causes // 16 % 2 = 1 THEN 'overdue'
        WHEN causes // 2 % 2 = 1 THEN 'trial converted'
        WHEN causes // 8192 % 2 = 1 THEN 'first payment'
        WHEN causes // 1 % 2 = 1 THEN 'start'
        WHEN causes // 4 % 2 = 1 THEN 'resume'
        WHEN causes // 8 % 2 = 1 THEN 'recovery'
        WHEN causes // 16384 % 2 = 1 THEN 'cancellation withdrawn'
        WHEN causes // 256 % 2 = 1 AND rises THEN 'upgrade'
        WHEN causes // 256 % 2 = 1 THEN 'downgrade'
        WHEN causes // 512 % 2 = 1 THEN 'quantity'
        WHEN causes // 1024 % 2 = 1 THEN 'price change'
        WHEN causes // 2048 % 2 = 1 AND rises THEN 'item added'
        WHEN causes // 2048 % 2 = 1 THEN 'item removed'
        WHEN causes // 4096 % 2 = 1 AND rises THEN 'discount ended'
        WHEN causes // 4096 % 2 = 1 THEN 'discount started'
        ELSE 'other'
    END AS cause,
    cohort_month
FROM items
WHERE moved <> 0
