-- The change log: MRR movements between two days, newest first, with their causes.
-- $merchant TEXT: whose
-- $scenario TEXT = live IN (live, {scenario_choices}): by which settings
-- $since DATE BETWEEN 1970-01-01 AND 2099-12-31: first day
-- $until DATE BETWEEN 1970-01-01 AND 2099-12-31: last day
-- $customer TEXT = NULL: of one customer only
-- $type TEXT = NULL IN (new, reactivation, expansion, contraction, churn, transfer, transfer in, transfer out): of one type only; transfer: in and out
-- $cause TEXT = NULL IN (involuntary, failed payment, cancellation, pause, overdue, trial converted, first payment, start, resume, recovery, cancellation withdrawn, upgrade, downgrade, quantity, price change, item added, item removed, discount ended, discount started, other): of one cause only; involuntary: because a payment failed
-- $rows INTEGER = 1000 BETWEEN 0 AND 10000000: how many
WITH named AS (
    SELECT * FROM {names} AS names WHERE {by_customer(by => CASE WHEN $slice IS NOT NULL THEN $by END)}
)
SELECT
    moves.happened_at, moves.local_at, moves.type, moves.cause, moves.amount, moves.currency, moves.customer_id,
    moves.subscription_id, moves.item_id, moves.price_id, moves.product_id, moves.plan_interval, moves.country,
    {definition} AS definition
FROM mrr_movements AS moves
LEFT JOIN named ON named.customer_id = moves.customer_id
WHERE moves.merchant_id = $merchant AND moves.scenario = $scenario AND moves.day BETWEEN $since AND $until
    AND ($customer IS NULL OR moves.customer_id = $customer) AND ($type IS NULL OR moves.type = $type
        OR $type = 'transfer' AND moves.type IN ('transfer in', 'transfer out'))
    AND ($cause IS NULL OR moves.cause = $cause
        OR $cause = 'involuntary' AND moves.cause IN ('failed payment', 'overdue'))
    AND {filtered}
    AND {listed}
ORDER BY moves.happened_at DESC, moves.customer_id, moves.item_id, moves.price_id, moves.type
LIMIT $rows
