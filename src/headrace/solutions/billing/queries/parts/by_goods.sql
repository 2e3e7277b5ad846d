-- Whether a question parts or filters by what is sold.
-- $product TEXT = NULL: of one product only
-- $price TEXT = NULL: of one price only
-- $plan_interval TEXT = NULL: of prices per `month`, `year`, `3 months`, …
-- $by TEXT = NULL IN (product, price, plan_interval, country, cohort, currency, {own_dimensions}): a row for each slice, named in `slice` (in `part`, as `$value` takes it); NULL: one for all
-- $dimension TEXT = NULL IN (product, price, plan_interval, country, cohort, currency, {own_dimensions}): of one slice only; $value says which
-- $value TEXT = NULL: which slice; `(none)`: what has none
$product IS NOT NULL OR $price IS NOT NULL OR $plan_interval IS NOT NULL
OR coalesce($by IN ('product', 'price', 'plan_interval'), FALSE)
OR $value IS NOT NULL AND coalesce($dimension IN ('product', 'price', 'plan_interval'), FALSE)
