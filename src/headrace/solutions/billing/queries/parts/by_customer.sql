-- Whether a question parts or filters by one of the merchant's own dimensions, of which sums per day know nothing.
-- $by TEXT = NULL IN (product, price, plan_interval, country, cohort, currency, {own_dimensions}): a row for each slice, named in `slice` (in `part`, as `$value` takes it); NULL: one for all
-- $dimension TEXT = NULL IN (product, price, plan_interval, country, cohort, currency, {own_dimensions}): of one slice only; $value says which
-- $value TEXT = NULL: which slice; `(none)`: what has none
coalesce($by, 'product') NOT IN ('product', 'price', 'plan_interval', 'country', 'cohort', 'currency')
OR $value IS NOT NULL AND coalesce($dimension, 'product') NOT IN (
    'product', 'price', 'plan_interval', 'country', 'cohort', 'currency')
