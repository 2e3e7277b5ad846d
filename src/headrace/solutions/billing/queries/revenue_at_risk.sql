-- Customers with a card that expires next month, and the MRR that hangs on it. Cards are told with the customer or as
-- payment methods.
-- $merchant TEXT: whose
-- $scenario TEXT = live: by which settings
-- $today DATE: the month after its own is looked at
WITH cards AS (
    SELECT customer_id, card_exp_month AS exp_month, card_exp_year AS exp_year
    FROM customers
    WHERE merchant_id = $merchant
    UNION
    SELECT customer_id, exp_month, exp_year
    FROM payment_methods
    WHERE merchant_id = $merchant
),
held AS (
    SELECT customer_id, currency, CAST(sum(amount) AS BIGINT) AS mrr
    FROM mrr_movements
    WHERE merchant_id = $merchant AND scenario = $scenario AND day <= $today
    GROUP BY customer_id, currency
)
SELECT
    held.customer_id, customers.name, held.currency, held.mrr,
    cards.exp_month AS card_exp_month, cards.exp_year AS card_exp_year,
    (SELECT coalesce(strftime(set_at, 'set %Y-%m-%d %H:%M'), 'defaults') FROM scenarios
     WHERE merchant_id = $merchant AND scenario = $scenario) AS definition
FROM held
JOIN cards ON cards.customer_id = held.customer_id
LEFT JOIN customers ON customers.merchant_id = $merchant AND customers.customer_id = held.customer_id
WHERE held.mrr > 0
    AND cards.exp_month = month($today + INTERVAL 1 MONTH)
    AND cards.exp_year = year($today + INTERVAL 1 MONTH)
ORDER BY held.mrr DESC, held.customer_id
