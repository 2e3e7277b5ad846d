-- The merchant's own dimensions of customers, such as `segment`: each that a customer has.
-- $merchant TEXT: whose
SELECT DISTINCT unnest(map_keys(names.named)) AS dimension FROM {names} AS names ORDER BY dimension
