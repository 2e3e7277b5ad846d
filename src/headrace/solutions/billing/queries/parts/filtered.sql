-- Whether a row is of what the reader chose; it has the columns that `sliced` wants.
-- $product TEXT = NULL: of one product only
-- $price TEXT = NULL: of one price only
-- $plan_interval TEXT = NULL: of prices per `month`, `year`, `3 months`, …
-- $country TEXT = NULL: of customers of one country only
-- $cohort DATE = NULL BETWEEN 1970-01-01 AND 2099-12-31: of customers who began in one month only (any of its days)
-- $of_currency TEXT = NULL: of one currency only
-- $dimension TEXT = NULL IN (product, price, plan_interval, country, cohort, currency, {own_dimensions}): of one slice only; $value says which
-- $value TEXT = NULL: which slice; `(none)`: what has none
($product IS NULL OR product_id = $product) AND ($price IS NULL OR price_id = $price)
AND ($plan_interval IS NULL OR plan_interval = $plan_interval) AND ($country IS NULL OR country = $country)
AND ($cohort IS NULL OR cohort_month = date_trunc('month', $cohort)) AND ($of_currency IS NULL OR currency = $of_currency)
AND ($value IS NULL OR $value = coalesce({sliced(by => $dimension)}, '(none)'))
