-- Whether a question parts or filters by what differs between the items of one customer: what is sold, and the currency.
-- $by TEXT = NULL IN (product, price, plan_interval, country, cohort, currency, {own_dimensions}): a row for each slice, named in `slice` (in `part`, as `$value` takes it); NULL: one for all
-- $of_currency TEXT = NULL: of one currency only
-- $dimension TEXT = NULL IN (product, price, plan_interval, country, cohort, currency, {own_dimensions}): of one slice only; $value says which
-- $value TEXT = NULL: which slice; `(none)`: what has none
{by_goods} OR $of_currency IS NOT NULL OR coalesce($by = 'currency', FALSE)
OR $value IS NOT NULL AND coalesce($dimension = 'currency', FALSE)
