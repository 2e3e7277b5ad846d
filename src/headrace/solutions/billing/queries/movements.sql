-- The change log: MRR movements between two days, newest first, with their causes.
-- $merchant TEXT: whose
-- $scenario TEXT = live: by which settings
-- $since DATE: first day
-- $until DATE: last day
-- $customer TEXT = NULL: of one customer only
-- $type TEXT = NULL: of one type only
-- $product TEXT = NULL: of one product only
-- $country TEXT = NULL: of one country only
-- $by TEXT = product: by what `$slice` is a slice: product, price, plan_interval, country, cohort, currency, or one of the
--   merchant's own dimensions of customers
-- $slice TEXT = NULL: of one slice only
-- $rows INTEGER = 1000: how many
SELECT
    happened_at, local_at, type, cause, amount, currency, customer_id, subscription_id, item_id, price_id, product_id,
    plan_interval, country,
    (SELECT coalesce(strftime(set_at, 'set %Y-%m-%d %H:%M'), 'defaults') FROM scenarios
     WHERE merchant_id = $merchant AND scenario = $scenario) AS definition
FROM mrr_movements
WHERE merchant_id = $merchant AND scenario = $scenario AND day BETWEEN $since AND $until
    AND ($customer IS NULL OR customer_id = $customer) AND ($type IS NULL OR type = $type)
    AND ($product IS NULL OR product_id = $product) AND ($country IS NULL OR country = $country)
    AND ($slice IS NULL OR $slice = CASE $by
        WHEN 'product' THEN product_id WHEN 'price' THEN price_id WHEN 'plan_interval' THEN plan_interval
        WHEN 'country' THEN country WHEN 'cohort' THEN CAST(cohort_month AS TEXT) WHEN 'currency' THEN currency
    END OR customer_id IN (
        SELECT customer_id FROM customers
        WHERE merchant_id = $merchant AND json_type(dimensions) = 'OBJECT'
            AND list_extract(map_extract(TRY_CAST(dimensions AS MAP(VARCHAR, VARCHAR)), $by), 1) = $slice
            AND $by NOT IN ('product', 'price', 'plan_interval', 'country', 'cohort', 'currency')))
ORDER BY happened_at DESC, customer_id, item_id, price_id, type
LIMIT $rows
