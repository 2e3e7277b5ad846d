-- Which slice a row is of. It has product_id, price_id, plan_interval, country, cohort_month, currency, and `named`: the
-- values of the merchant's own dimensions.
-- $by TEXT = NULL IN (product, price, plan_interval, country, cohort, currency, {own_dimensions}): a row for each slice, named in `slice` (in `part`, as `$value` takes it); NULL: one for all
CASE $by
    WHEN 'product' THEN product_id WHEN 'price' THEN price_id WHEN 'plan_interval' THEN plan_interval
    WHEN 'country' THEN country WHEN 'cohort' THEN CAST(cohort_month AS TEXT) WHEN 'currency' THEN currency
    ELSE list_extract(map_extract(named, $by), 1)
END
