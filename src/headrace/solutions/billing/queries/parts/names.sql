-- Customers with values of the merchant's own dimensions, in a map.
-- $merchant TEXT: whose
SELECT customer_id, TRY_CAST(dimensions AS MAP(VARCHAR, VARCHAR)) AS named
FROM customers
WHERE merchant_id = $merchant AND json_type(dimensions) = 'OBJECT'
