-- Stretches of time in which a subscription's standing did not change.
--
-- Grain: one row per stretch. Renewals and other events that change nothing that matters begin no stretch.
-- standing     the status; `paused` too while collection is paused and what falls due is not collected later
-- leaving      it is to end, at the end of its period or on a day
-- since, until UTC, half open; until 9999-12-31 where no end is known
-- before_standing, after_standing  what it was directly before, and is directly after; NULL: nothing
-- began_by, ended_by  bits of what happened at either end, see mrr_parts.sql
WITH versions AS (
    SELECT
        merchant_id,
        subscription_id,
        customer_id,
        CASE WHEN status IN ('active', 'past_due') AND pause_behavior IN ('void', 'mark_uncollectible')
            THEN 'paused' ELSE status END AS standing,
        status <> 'canceled' AND (cancel_at_period_end OR cancel_at IS NOT NULL) AS leaving,
        coalesce(cancellation_reason = 'payment_failed', FALSE) AS involuntary,
        valid_from,
        valid_to
    FROM subscriptions__history
    WHERE valid_to IS NULL OR valid_from < valid_to
),
marks AS (
    SELECT merchant_id, subscription_id, customer_id, standing, leaving, involuntary, valid_from AS marked_at, 1 AS turn
    FROM versions
    UNION ALL
    SELECT merchant_id, subscription_id, customer_id, standing, leaving, involuntary, valid_to AS marked_at, -1 AS turn
    FROM versions
    WHERE valid_to IS NOT NULL
),
-- A version that ends where the same begins again leaves no mark.
turns AS (
    SELECT
        merchant_id, subscription_id, customer_id, standing, leaving, involuntary, marked_at,
        CAST(sum(turn) AS BIGINT) AS turn
    FROM marks
    GROUP BY merchant_id, subscription_id, customer_id, standing, leaving, involuntary, marked_at
    HAVING sum(turn) <> 0
),
-- In order of time, and an end before the beginning of what follows: the row after a beginning is its own end, the
-- one after that the next beginning.
neighbours AS (
    SELECT
        *,
        lag(marked_at) OVER course AS before_at,
        lag(standing) OVER course AS before_standing,
        lag(leaving) OVER course AS before_leaving,
        lead(marked_at) OVER course AS end_at,
        lead(marked_at, 2) OVER course AS after_at,
        lead(standing, 2) OVER course AS after_standing,
        lead(leaving, 2) OVER course AS after_leaving,
        lead(involuntary, 2) OVER course AS after_involuntary
    FROM turns
    WINDOW course AS (PARTITION BY merchant_id, subscription_id ORDER BY marked_at, turn)
)
SELECT
    merchant_id,
    subscription_id,
    customer_id,
    standing,
    leaving,
    involuntary,
    marked_at AS since,
    coalesce(end_at, TIMESTAMP '9999-12-31') AS until,
    CASE WHEN before_at = marked_at THEN before_standing END AS before_standing,
    CASE WHEN after_at = end_at THEN after_standing END AS after_standing,
    CASE
        WHEN before_at IS DISTINCT FROM marked_at OR before_standing IN ('incomplete', 'incomplete_expired') THEN 1
        WHEN before_standing = 'canceled' THEN 1
        WHEN before_standing = 'trialing' THEN 2
        WHEN before_standing = 'paused' THEN 4
        WHEN standing = 'paused' THEN 32
        WHEN before_standing IN ('past_due', 'unpaid') AND standing = 'active' THEN 8
        WHEN standing IN ('past_due', 'unpaid') AND before_standing <> standing THEN 16
        WHEN leaving AND NOT before_leaving THEN 64
        WHEN before_leaving AND NOT leaving THEN 16384
        ELSE 0
    END AS began_by,
    CASE
        WHEN end_at IS NULL THEN 0
        WHEN after_at IS DISTINCT FROM end_at THEN 64
        WHEN after_standing IN ('canceled', 'incomplete_expired') AND after_involuntary THEN 128
        WHEN after_standing IN ('canceled', 'incomplete_expired') THEN 64
        WHEN standing = 'trialing' THEN 2
        WHEN standing = 'paused' THEN 4
        WHEN after_standing = 'paused' THEN 32
        WHEN standing IN ('past_due', 'unpaid') AND after_standing = 'active' THEN 8
        WHEN after_standing IN ('past_due', 'unpaid') AND after_standing <> standing THEN 16
        WHEN after_leaving AND NOT leaving THEN 64
        WHEN leaving AND NOT after_leaving THEN 16384
        ELSE 0
    END AS ended_by
FROM neighbours
WHERE turn > 0
