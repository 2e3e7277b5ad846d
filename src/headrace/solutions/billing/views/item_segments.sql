-- Stretches of time in which everything that makes an item's gross amount and standing stayed the same. No setting
-- is asked here: whether a segment counts is decided by what a merchant selects, see mrr_changes.sql.
--
-- Grain: one row per item and segment, for standings that can count (active, past_due).
-- paid    the subscription has been paid for at least once before (or at) `since`
-- pico    what the item costs per interval, before discounts, in 1e-12 minor units
-- months_up, months_down  see price_stretches.sql
-- began_by, ended_by      bits of what happened at either end, see mrr_parts.sql
WITH standings AS (
    SELECT
        stretches.*,
        coalesce(payments.first_paid_at, TIMESTAMP '9999-12-31') AS first_paid_at
    FROM subscription_stretches AS stretches
    LEFT JOIN first_payments AS payments
        ON payments.merchant_id = stretches.merchant_id AND payments.subscription_id = stretches.subscription_id
    WHERE stretches.standing IN ('active', 'past_due')
),
halves AS (
    SELECT
        merchant_id, subscription_id, customer_id, standing, leaving, FALSE AS paid,
        since, least(until, first_paid_at) AS until,
        began_by, CASE WHEN until > first_paid_at THEN 8192 ELSE ended_by END AS ended_by
    FROM standings
    WHERE since < first_paid_at
    UNION ALL
    SELECT
        merchant_id, subscription_id, customer_id, standing, leaving, TRUE AS paid,
        greatest(since, first_paid_at) AS since, until,
        CASE WHEN since < first_paid_at THEN 8192 ELSE began_by END AS began_by, ended_by
    FROM standings
    WHERE until > first_paid_at
),
joined AS (
    SELECT
        items.merchant_id,
        halves.customer_id,
        items.subscription_id,
        items.item_id,
        items.price_id,
        items.quantity,
        prices.currency,
        halves.standing,
        halves.leaving,
        halves.paid,
        prices.interval,
        prices.interval_count,
        prices.months_up,
        prices.months_down,
        prices.scheme,
        prices.tiers_mode,
        prices.unit_amount,
        json_transform(prices.tiers,
            '[{"up_to": "BIGINT", "unit_amount": "DECIMAL(24,12)", "flat_amount": "DECIMAL(24,12)"}]') AS tiers,
        greatest(items.since, halves.since, prices.since) AS since,
        least(items.until, halves.until, prices.until) AS until,
        CASE WHEN items.since >= halves.since AND items.since >= prices.since THEN items.began_by ELSE 0 END
        | CASE WHEN halves.since >= items.since AND halves.since >= prices.since THEN halves.began_by ELSE 0 END
        | CASE WHEN prices.since >= items.since AND prices.since >= halves.since THEN prices.began_by ELSE 0 END
            AS began_by,
        CASE WHEN items.until <= halves.until AND items.until <= prices.until THEN items.ended_by ELSE 0 END
        | CASE WHEN halves.until <= items.until AND halves.until <= prices.until THEN halves.ended_by ELSE 0 END
        | CASE WHEN prices.until <= items.until AND prices.until <= halves.until THEN prices.ended_by ELSE 0 END
            AS ended_by
    FROM item_stretches AS items
    JOIN halves
        ON halves.merchant_id = items.merchant_id AND halves.subscription_id = items.subscription_id
        AND halves.since < items.until AND items.since < halves.until
    JOIN price_stretches AS prices
        ON prices.merchant_id = items.merchant_id AND prices.price_id = items.price_id
        AND prices.since < items.until AND items.since < prices.until
        AND prices.since < halves.until AND halves.since < prices.until
)
SELECT
    merchant_id, customer_id, subscription_id, item_id, price_id, currency, standing, leaving, paid,
    interval, interval_count, months_up, months_down,
    coalesce(CASE
        WHEN scheme = 'flat' THEN CAST(unit_amount * 1000000000000 AS HUGEINT)
        WHEN scheme = 'per_unit' THEN CAST(unit_amount * 1000000000000 AS HUGEINT) * quantity
        WHEN tiers_mode = 'volume' THEN list_sum(list_transform(
            list_filter(tiers, lambda tier: tier.up_to IS NULL OR quantity <= tier.up_to)[1:1],
            lambda tier: CAST(coalesce(tier.unit_amount, 0) * 1000000000000 AS HUGEINT) * quantity
                + CAST(coalesce(tier.flat_amount, 0) * 1000000000000 AS HUGEINT)
        ))
        ELSE list_sum(list_transform(
            list_filter(
                list_transform(tiers, lambda tier, nth: {
                    'above': CASE WHEN nth > 1 THEN tiers[nth - 1].up_to ELSE 0 END,
                    'up_to': tier.up_to,
                    'unit': CAST(coalesce(tier.unit_amount, 0) * 1000000000000 AS HUGEINT),
                    'flat': CAST(coalesce(tier.flat_amount, 0) * 1000000000000 AS HUGEINT)
                }),
                lambda tier: quantity > tier.above
            ),
            lambda tier: (least(quantity, coalesce(tier.up_to, quantity)) - tier.above) * tier.unit + tier.flat
        ))
    END, 0) AS pico,
    since, until, began_by, ended_by
FROM joined
