-- All MRR movements of one customer, newest first, and its MRR after each moment, per currency in minor units.
-- $merchant TEXT: whose customer
-- $scenario TEXT = live IN (live, {scenario_choices}): by which settings
-- $customer TEXT = '': which customer; its name and what it pays now stand in customer_facts.sql
SELECT
    moves.happened_at, moves.type, moves.cause, moves.amount, moves.currency,
    CAST(sum(moves.amount) OVER (PARTITION BY moves.currency ORDER BY moves.happened_at) AS BIGINT) AS mrr_after,
    moves.subscription_id, moves.item_id, moves.price_id, moves.product_id,
    {definition} AS definition
FROM mrr_movements AS moves
WHERE moves.merchant_id = $merchant AND moves.scenario = $scenario AND moves.customer_id = $customer
ORDER BY moves.happened_at DESC, moves.item_id, moves.type
