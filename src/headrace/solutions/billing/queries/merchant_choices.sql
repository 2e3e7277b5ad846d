-- Merchants, those with most customers first: what a page offers to choose from.
SELECT merchants.merchant_id, merchants.name
FROM merchants
LEFT JOIN (SELECT merchant_id, count(*) AS customers FROM customers GROUP BY merchant_id) AS sizes
    ON sizes.merchant_id = merchants.merchant_id
ORDER BY coalesce(sizes.customers, 0) DESC, merchants.name, merchants.merchant_id
