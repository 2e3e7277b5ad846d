-- The change log: MRR movements between two days, newest first, with their causes.
-- $merchant TEXT: whose
-- $scenario TEXT = live: by which settings
-- $since DATE: first day
-- $until DATE: last day
-- $customer TEXT = NULL: of one customer only
-- $type TEXT = NULL: of one type only; `transfer`: in and out
-- $product TEXT = NULL: of one product only
-- $price TEXT = NULL: of one price only
-- $plan_interval TEXT = NULL: of prices per `month`, `year`, `3 months`, …
-- $country TEXT = NULL: of customers of one country only
-- $cohort DATE = NULL: of customers who began in one month only (its first day)
-- $of_currency TEXT = NULL: of one currency only
-- $dimension TEXT = NULL: of one slice only: product, price, plan_interval, country, cohort, currency, or one of the
--   merchant's own dimensions of customers, such as `segment`; $value says which
-- $value TEXT = NULL: which slice; `(none)`: what has none
-- $by TEXT = product: by what `$slice` is a slice, as `$dimension`
-- $slice TEXT = NULL: and of one slice only; `(none)`: what has none
-- $cause TEXT = NULL: of one cause only; `involuntary`: because a payment failed
-- $rows INTEGER = 1000: how many
WITH asked AS (
    SELECT
        ($slice IS NOT NULL AND $by NOT IN ('product', 'price', 'plan_interval', 'country', 'cohort', 'currency')
            OR $value IS NOT NULL AND coalesce($dimension, 'product') NOT IN (
                'product', 'price', 'plan_interval', 'country', 'cohort', 'currency')) AS per_customer
),
named AS (
    SELECT customer_id, TRY_CAST(dimensions AS MAP(VARCHAR, VARCHAR)) AS named
    FROM customers
    WHERE merchant_id = $merchant AND json_type(dimensions) = 'OBJECT' AND (SELECT per_customer FROM asked)
)
SELECT
    moves.happened_at, moves.local_at, moves.type, moves.cause, moves.amount, moves.currency, moves.customer_id,
    moves.subscription_id, moves.item_id, moves.price_id, moves.product_id, moves.plan_interval, moves.country,
    (SELECT coalesce(strftime(set_at, 'set %Y-%m-%d %H:%M'), 'defaults') FROM scenarios
     WHERE merchant_id = $merchant AND scenario = $scenario) AS definition
FROM mrr_movements AS moves
LEFT JOIN named ON named.customer_id = moves.customer_id
WHERE moves.merchant_id = $merchant AND moves.scenario = $scenario AND moves.day BETWEEN $since AND $until
    AND ($customer IS NULL OR moves.customer_id = $customer) AND ($type IS NULL OR moves.type = $type
        OR $type = 'transfer' AND moves.type IN ('transfer in', 'transfer out'))
    AND ($cause IS NULL OR moves.cause = $cause
        OR $cause = 'involuntary' AND moves.cause IN ('failed payment', 'overdue'))
    AND ($product IS NULL OR moves.product_id = $product) AND ($price IS NULL OR moves.price_id = $price)
    AND ($plan_interval IS NULL OR moves.plan_interval = $plan_interval)
    AND ($country IS NULL OR moves.country = $country)
    AND ($cohort IS NULL OR moves.cohort_month = $cohort) AND ($of_currency IS NULL OR moves.currency = $of_currency)
    AND ($value IS NULL OR $value = coalesce(CASE $dimension
        WHEN 'product' THEN moves.product_id WHEN 'price' THEN moves.price_id
        WHEN 'plan_interval' THEN moves.plan_interval
        WHEN 'country' THEN moves.country WHEN 'cohort' THEN CAST(moves.cohort_month AS TEXT)
        WHEN 'currency' THEN moves.currency
        ELSE list_extract(map_extract(named.named, $dimension), 1)
    END, '(none)'))
    AND ($slice IS NULL OR $slice = coalesce(CASE $by
        WHEN 'product' THEN moves.product_id WHEN 'price' THEN moves.price_id
        WHEN 'plan_interval' THEN moves.plan_interval
        WHEN 'country' THEN moves.country WHEN 'cohort' THEN CAST(moves.cohort_month AS TEXT)
        WHEN 'currency' THEN moves.currency
        ELSE list_extract(map_extract(named.named, $by), 1)
    END, '(none)'))
ORDER BY moves.happened_at DESC, moves.customer_id, moves.item_id, moves.price_id, moves.type
LIMIT $rows
