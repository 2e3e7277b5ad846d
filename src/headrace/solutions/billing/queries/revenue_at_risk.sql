-- Customers whose card expires next month, and the MRR that hangs on it.
-- $merchant TEXT: whose
-- $scenario TEXT = live: by which settings
-- $today DATE: the month after its own is looked at
SELECT
    customers.customer_id, customers.name, held.currency, held.mrr, customers.card_exp_month, customers.card_exp_year,
    (SELECT coalesce(strftime(set_at, 'set %Y-%m-%d %H:%M'), 'defaults') FROM scenarios
     WHERE merchant_id = $merchant AND scenario = $scenario) AS definition
FROM (
    SELECT customer_id, currency, CAST(sum(amount) AS BIGINT) AS mrr
    FROM mrr_movements
    WHERE merchant_id = $merchant AND scenario = $scenario AND day <= $today
    GROUP BY customer_id, currency
) AS held
JOIN customers ON customers.merchant_id = $merchant AND customers.customer_id = held.customer_id
WHERE held.mrr > 0
    AND customers.card_exp_month = month($today + INTERVAL 1 MONTH)
    AND customers.card_exp_year = year($today + INTERVAL 1 MONTH)
ORDER BY held.mrr DESC, customers.customer_id
