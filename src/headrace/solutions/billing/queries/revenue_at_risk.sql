-- Customers with a card that expires next month, and the MRR that hangs on it. Cards are told with the customer or as
-- payment methods.
-- $merchant TEXT: whose
-- $scenario TEXT = live IN (live, {scenario_choices}): by which settings
-- $today DATE BETWEEN 1970-01-01 AND 2099-12-31: the month after its own is looked at
WITH named AS (
    SELECT * FROM {names} AS names WHERE {by_customer}
),
cards AS (
    SELECT customer_id, card_exp_month AS exp_month, card_exp_year AS exp_year
    FROM customers
    WHERE merchant_id = $merchant
    UNION
    SELECT customer_id, exp_month, exp_year
    FROM payment_methods
    WHERE merchant_id = $merchant
),
moves AS (
    SELECT moves.*, named.named
    FROM mrr_movements AS moves
    LEFT JOIN named ON named.customer_id = moves.customer_id
    WHERE moves.merchant_id = $merchant AND moves.scenario = $scenario AND moves.day <= $today
        AND moves.customer_id IN (
            SELECT customer_id FROM cards
            WHERE exp_month = month($today + INTERVAL 1 MONTH) AND exp_year = year($today + INTERVAL 1 MONTH))
),
held AS (
    SELECT
        {sliced} AS slice,
        customer_id, currency, CAST(sum(amount) AS BIGINT) AS mrr
    FROM moves
    WHERE {filtered}
    GROUP BY slice, customer_id, currency
)
SELECT
    held.customer_id, customers.name, held.currency, held.mrr,
    month($today + INTERVAL 1 MONTH) AS card_exp_month, year($today + INTERVAL 1 MONTH) AS card_exp_year,
    {definition} AS definition,
    held.slice, CASE WHEN $by IS NOT NULL THEN coalesce(held.slice, '(none)') END AS part
FROM held
LEFT JOIN customers ON customers.merchant_id = $merchant AND customers.customer_id = held.customer_id
WHERE held.mrr > 0
ORDER BY held.mrr DESC, held.customer_id, held.currency, held.slice
