-- MRR movements per local day and each of the merchant's own dimensions of customers, such as `segment`.
--
-- Grain: one row per merchant, scenario, day, currency, dimension, value and type.
WITH named AS (
    SELECT merchant_id, customer_id, unnest(map_entries(TRY_CAST(dimensions AS MAP(VARCHAR, VARCHAR)))) AS named
    FROM customers
    WHERE json_type(dimensions) = 'OBJECT'
),
dimensioned AS (
    SELECT merchant_id, customer_id, named.key AS dimension, named.value AS value FROM named
)
SELECT
    movements.merchant_id, movements.scenario, movements.day, movements.currency,
    dimensioned.dimension, dimensioned.value, movements.type,
    CAST(sum(movements.amount) AS BIGINT) AS amount, count(*) AS movements
FROM mrr_movements AS movements
JOIN dimensioned
    ON dimensioned.merchant_id = movements.merchant_id AND dimensioned.customer_id = movements.customer_id
GROUP BY ALL
