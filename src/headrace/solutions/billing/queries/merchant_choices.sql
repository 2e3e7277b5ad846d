-- Merchants, by name: what a page offers to choose from.
SELECT merchant_id, name FROM merchants ORDER BY name, merchant_id
