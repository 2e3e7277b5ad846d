-- Customers with MRR at the end of a day, the largest first.
-- $merchant TEXT: whose
-- $scenario TEXT = live: by which settings
-- $day DATE: as of the end of which day
-- $product TEXT = NULL: counting one product only
-- $country TEXT = NULL: of one country only
-- $rows INTEGER = 1000: how many
SELECT
    held.customer_id, customers.name, customers.country, held.currency, held.mrr, held.since, held.changed_at,
    (SELECT coalesce(strftime(set_at, 'set %Y-%m-%d %H:%M'), 'defaults') FROM scenarios
     WHERE merchant_id = $merchant AND scenario = $scenario) AS definition
FROM (
    SELECT
        customer_id, currency, CAST(sum(amount) AS BIGINT) AS mrr, min(local_at) AS since, max(local_at) AS changed_at
    FROM mrr_movements
    WHERE merchant_id = $merchant AND scenario = $scenario AND day <= $day
        AND ($product IS NULL OR product_id = $product) AND ($country IS NULL OR country = $country)
    GROUP BY customer_id, currency
) AS held
LEFT JOIN customers ON customers.merchant_id = $merchant AND customers.customer_id = held.customer_id
WHERE held.mrr <> 0
ORDER BY held.mrr DESC, held.customer_id
LIMIT $rows
