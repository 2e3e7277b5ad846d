-- Whether a row of a list is of the slice that led there, beside what the reader chose.
-- $by TEXT = product: by what `$slice` is a slice, as `$dimension`
-- $slice TEXT = NULL: and of one slice only; `(none)`: what has none
$slice IS NULL OR $slice = coalesce({sliced(by => $by)}, '(none)')
