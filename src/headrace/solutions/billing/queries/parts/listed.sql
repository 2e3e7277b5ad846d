-- Whether a row of a list is of the slice that led there, beside what the reader chose.
-- $by TEXT = product IN (product, price, plan_interval, country, cohort, currency, {own_dimensions}): by what `$slice` is a slice
-- $slice TEXT = NULL: and of one slice only; `(none)`: what has none
$slice IS NULL OR $slice = coalesce({sliced(by => $by)}, '(none)')
