-- What each customer pays a month at present.
--
-- Grain: one row per merchant, scenario, customer and currency with MRR. mrr in minor units; movements that lie ahead
-- (a discount that is to end) do not count yet.
SELECT merchant_id, scenario, customer_id, currency, CAST(sum(amount) AS BIGINT) AS mrr
FROM mrr_changes
WHERE happened_at <= now()
GROUP BY merchant_id, scenario, customer_id, currency
HAVING sum(amount) <> 0
