-- Stretches of time in which everything that makes an item's gross amount and standing stayed the same. No setting
-- is asked here: whether a segment counts is decided by what a merchant selects, see mrr_changes.sql.
--
-- Grain: one row per item and segment, for standings that can count (active, past_due).
-- paid    the subscription has been paid for at least once before (or at) `since`
-- gross   what the item costs a month, before discounts; pico, months_up, months_down: see charges.sql
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
)
SELECT
    items.merchant_id,
    halves.customer_id,
    items.subscription_id,
    items.item_id,
    items.price_id,
    charges.currency,
    halves.standing,
    halves.leaving,
    halves.paid,
    charges.interval,
    charges.interval_count,
    charges.months_up,
    charges.months_down,
    charges.pico,
    charges.gross,
    greatest(items.since, halves.since, charges.since) AS since,
    least(items.until, halves.until, charges.until) AS until,
    CASE WHEN items.since >= halves.since AND items.since >= charges.since THEN items.began_by ELSE 0 END
    + CASE WHEN halves.since >= items.since AND halves.since >= charges.since THEN halves.began_by ELSE 0 END
    + CASE WHEN charges.since >= items.since AND charges.since >= halves.since THEN charges.began_by ELSE 0 END
        AS began_by,
    CASE WHEN items.until <= halves.until AND items.until <= charges.until THEN items.ended_by ELSE 0 END
    + CASE WHEN halves.until <= items.until AND halves.until <= charges.until THEN halves.ended_by ELSE 0 END
    + CASE WHEN charges.until <= items.until AND charges.until <= halves.until THEN charges.ended_by ELSE 0 END
        AS ended_by
FROM item_stretches AS items
JOIN halves
    ON halves.merchant_id = items.merchant_id AND halves.subscription_id = items.subscription_id
    AND halves.since < items.until AND items.since < halves.until
JOIN charges
    ON charges.merchant_id = items.merchant_id AND charges.price_id = items.price_id
    AND charges.quantity = items.quantity
    AND charges.since < items.until AND items.since < charges.until
    AND charges.since < halves.until AND halves.since < charges.until
