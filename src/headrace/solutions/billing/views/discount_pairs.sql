-- Which discounts apply to which segments of an item, and from when until when.
--
-- A discount applies to one item, to a subscription, or to all subscriptions of a customer. One on a single invoice
-- (`once`) lowers MRR for the one billing interval from its start, whatever becomes of it later.
--
-- Grain: one row per segment (item_segments.sql) and discount that overlap.
-- scope           `own` of item or subscription, or the `customer`'s
-- layer           forever, recurring or once
-- off_millionths  the percentage, in millionths of the amount; amount_off in minor units per interval
-- on_from, on_until  UTC, half open
WITH owners AS (
    SELECT DISTINCT merchant_id, customer_id, subscription_id FROM subscription_stretches
),
placed AS (
    SELECT
        merchant_id, subscription_id, item_id, discount_id, 'own' AS scope, duration, percent_off, amount_off, currency,
        starts_at, ends_at
    FROM discount_terms
    WHERE subscription_id IS NOT NULL
    UNION ALL
    SELECT
        discounts.merchant_id, owners.subscription_id, NULL AS item_id, discounts.discount_id, 'customer' AS scope,
        discounts.duration, discounts.percent_off, discounts.amount_off, discounts.currency,
        discounts.starts_at, discounts.ends_at
    FROM discount_terms AS discounts
    JOIN owners ON owners.merchant_id = discounts.merchant_id AND owners.customer_id = discounts.customer_id
    WHERE discounts.subscription_id IS NULL
),
pairs AS (
    SELECT
        segments.*,
        placed.discount_id,
        placed.scope,
        CASE placed.duration WHEN 'repeating' THEN 'recurring' ELSE placed.duration END AS layer,
        CAST(coalesce(placed.percent_off, 0) * 10000 AS BIGINT) AS off_millionths,
        coalesce(placed.amount_off, 0) AS amount_off,
        greatest(segments.since, placed.starts_at) AS on_from,
        least(segments.until, CASE
            WHEN placed.duration <> 'once' THEN coalesce(placed.ends_at, TIMESTAMP '9999-12-31')
            WHEN segments.interval = 'day' THEN placed.starts_at + to_days(CAST(segments.interval_count AS INTEGER))
            WHEN segments.interval = 'week'
                THEN placed.starts_at + to_days(CAST(7 * segments.interval_count AS INTEGER))
            WHEN segments.interval = 'month' THEN placed.starts_at + to_months(CAST(segments.interval_count AS INTEGER))
            ELSE placed.starts_at + to_months(CAST(12 * segments.interval_count AS INTEGER))
        END) AS on_until
    FROM item_segments AS segments
    JOIN placed
        ON placed.merchant_id = segments.merchant_id AND placed.subscription_id = segments.subscription_id
        AND (placed.item_id IS NULL OR placed.item_id = segments.item_id)
        AND (placed.amount_off IS NULL OR placed.currency IS NULL OR placed.currency = segments.currency)
    WHERE segments.pico > 0
)
SELECT * FROM pairs WHERE on_from < on_until
