-- Whether a question neither parts nor filters, so that sums per day answer it.
-- $product TEXT = NULL: of one product only
-- $price TEXT = NULL: of one price only
-- $plan_interval TEXT = NULL: of prices per `month`, `year`, `3 months`, …
-- $country TEXT = NULL: of customers of one country only
-- $cohort DATE = NULL BETWEEN 1970-01-01 AND 2099-12-31: of customers who began in one month only (any of its days)
-- $of_currency TEXT = NULL: of one currency only
-- $value TEXT = NULL: which slice; `(none)`: what has none
-- $by TEXT = NULL IN (product, price, plan_interval, country, cohort, currency, {own_dimensions}): a row for each slice, named in `slice` (in `part`, as `$value` takes it); NULL: one for all
$by IS NULL AND $value IS NULL AND $product IS NULL AND $price IS NULL AND $plan_interval IS NULL
AND $country IS NULL AND $cohort IS NULL AND $of_currency IS NULL
