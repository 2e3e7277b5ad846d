-- Payments that failed and what became of them, per currency.
--
-- failed_rate        failed payments / all payments, by number; failed_amount_rate by amount
-- recovery_rate      recovered / failed invoices of those whose first failure lies in the range
-- recovered_amount   what came of them after all, in minor units
-- net_revenue        paid, less refunds where the scenario subtracts them
--
-- Of slices by product, price or interval a payment counts in each that its invoice has lines of, and its amount is shared
-- among the lines by what they cost, so that amounts add up to the whole.
-- $merchant TEXT: whose
-- $scenario TEXT = live: by which settings
-- $since DATE: first day
-- $until DATE: last day
-- $product TEXT = NULL: of one product only
-- $price TEXT = NULL: of one price only
-- $plan_interval TEXT = NULL: of prices per `month`, `year`, `3 months`, …
-- $country TEXT = NULL: of customers of one country only
-- $cohort DATE = NULL: of customers who began in one month only (its first day)
-- $of_currency TEXT = NULL: of one currency only
-- $dimension TEXT = NULL: of one slice only: product, price, plan_interval, country, cohort, currency, or one of the
--   merchant's own dimensions of customers, such as `segment`; $value says which
-- $value TEXT = NULL: which slice; `(none)`: what has none
-- $by TEXT = NULL: a row for each slice, named in `slice` (in `part`, as `$value` takes it), by what `$dimension` may be; NULL: one for all
WITH asked AS (
    SELECT
        coalesce($by, 'currency') = 'currency' AND $value IS NULL AND $product IS NULL AND $price IS NULL
            AND $plan_interval IS NULL AND $country IS NULL AND $cohort IS NULL AS kept,
        ($product IS NOT NULL OR $price IS NOT NULL OR $plan_interval IS NOT NULL
            OR coalesce($by IN ('product', 'price', 'plan_interval'), FALSE)
            OR $value IS NOT NULL AND coalesce($dimension IN ('product', 'price', 'plan_interval'), FALSE)) AS per_item
),
people AS (
    SELECT
        coalesce(customers.customer_id, cohorts.customer_id) AS customer_id, customers.name, customers.country,
        cohorts.cohort_month,
        CASE WHEN json_type(customers.dimensions) = 'OBJECT'
            THEN TRY_CAST(customers.dimensions AS MAP(VARCHAR, VARCHAR)) END AS named
    FROM (SELECT * FROM customers WHERE merchant_id = $merchant) AS customers
    FULL JOIN (SELECT * FROM customer_cohorts WHERE merchant_id = $merchant AND scenario = $scenario) AS cohorts
        ON cohorts.customer_id = customers.customer_id
    WHERE NOT (SELECT kept FROM asked)
),
goods AS (
    SELECT
        price_id, product_id, currency,
        CASE WHEN interval_count = 1 THEN interval
            ELSE CAST(interval_count AS VARCHAR) || ' ' || interval || 's' END AS plan_interval
    FROM prices
    WHERE merchant_id = $merchant
),
-- A payment is for the lines of its invoice: each has a share of the amount by what the line costs, in whole minor
-- units that add up to it. Without lines, or where nobody asks, it is of no product and price.
shares AS (
    SELECT
        invoice_id, price_id,
        CASE WHEN whole = 0 THEN 0 ELSE until - amount END AS low,
        CASE WHEN whole = 0 THEN CASE nth WHEN 1 THEN 1 ELSE 0 END ELSE until END AS high,
        CASE WHEN whole = 0 THEN 1 ELSE whole END AS whole
    FROM (
        SELECT
            invoice_id, price_id, amount,
            CAST(sum(amount) OVER course AS HUGEINT) AS until,
            CAST(sum(amount) OVER (PARTITION BY invoice_id) AS HUGEINT) AS whole,
            row_number() OVER course AS nth
        FROM invoice_lines
        WHERE merchant_id = $merchant AND (SELECT per_item FROM asked)
        WINDOW course AS (PARTITION BY invoice_id ORDER BY line_id)
    )
),
flows AS (
    SELECT
        payment_id, invoice_id, customer_id, currency, created_at, amount,
        CASE status WHEN 'succeeded' THEN 'paid' ELSE 'failed' END AS kind, failure_code
    FROM payments
    WHERE merchant_id = $merchant AND status IN ('succeeded', 'failed') AND NOT (SELECT kept FROM asked)
    UNION ALL
    SELECT
        refunds.refund_id, payments.invoice_id, coalesce(refunds.customer_id, payments.customer_id), refunds.currency,
        refunds.created_at, refunds.amount, 'refunded' AS kind, NULL
    FROM refunds
    LEFT JOIN payments ON payments.merchant_id = $merchant AND payments.payment_id = refunds.payment_id
    WHERE refunds.merchant_id = $merchant AND refunds.status = 'succeeded' AND NOT (SELECT kept FROM asked)
    UNION ALL
    SELECT
        invoice_id, invoice_id, customer_id, currency, failed_at, amount,
        CASE WHEN recovered_at IS NULL THEN 'unrecovered' ELSE 'recovered' END AS kind, NULL
    FROM payment_failures
    WHERE merchant_id = $merchant AND NOT (SELECT kept FROM asked)
),
told AS (
    SELECT
        flows.payment_id, flows.invoice_id, flows.customer_id,
        people.name, flows.kind, flows.failure_code, flows.currency,
        timezone(scenarios.time_zone, timezone('UTC', flows.created_at)) AS local_at,
        CAST(CASE WHEN shares.whole IS NULL THEN flows.amount
            ELSE flows.amount * shares.high // shares.whole - flows.amount * shares.low // shares.whole END AS BIGINT)
            AS amount,
        goods.price_id, goods.product_id, goods.plan_interval, people.country, people.cohort_month, people.named
    FROM flows
    JOIN scenarios ON scenarios.merchant_id = $merchant AND scenarios.scenario = $scenario
    LEFT JOIN people ON people.customer_id = flows.customer_id
    LEFT JOIN shares ON shares.invoice_id = flows.invoice_id
    LEFT JOIN goods ON goods.price_id = shares.price_id
    WHERE flows.created_at BETWEEN CAST($since AS TIMESTAMP) - INTERVAL 1 DAY
        AND CAST($until AS TIMESTAMP) + INTERVAL 2 DAY
),
summed AS (
    SELECT
        CASE $by
            WHEN 'product' THEN product_id WHEN 'price' THEN price_id WHEN 'plan_interval' THEN plan_interval
            WHEN 'country' THEN country WHEN 'cohort' THEN CAST(cohort_month AS TEXT) WHEN 'currency' THEN currency
            ELSE list_extract(map_extract(named, $by), 1)
        END AS slice,
        currency, kind, count(DISTINCT payment_id) AS payments, sum(amount) AS amount
    FROM told
    WHERE CAST(local_at AS DATE) BETWEEN $since AND $until
        AND ($product IS NULL OR product_id = $product) AND ($price IS NULL OR price_id = $price)
        AND ($plan_interval IS NULL OR plan_interval = $plan_interval) AND ($country IS NULL OR country = $country)
        AND ($cohort IS NULL OR cohort_month = $cohort) AND ($of_currency IS NULL OR currency = $of_currency)
        AND ($value IS NULL OR $value = coalesce(CASE $dimension
            WHEN 'product' THEN product_id WHEN 'price' THEN price_id WHEN 'plan_interval' THEN plan_interval
            WHEN 'country' THEN country WHEN 'cohort' THEN CAST(cohort_month AS TEXT) WHEN 'currency' THEN currency
            ELSE list_extract(map_extract(named, $dimension), 1)
        END, '(none)'))
    GROUP BY slice, currency, kind
    UNION ALL
    SELECT CASE $by WHEN 'currency' THEN currency END AS slice, currency, kind, sum(payments), sum(amount)
    FROM cash_daily
    WHERE merchant_id = $merchant AND scenario = $scenario AND day BETWEEN $since AND $until
        AND ($of_currency IS NULL OR currency = $of_currency) AND (SELECT kept FROM asked)
    GROUP BY currency, kind
    UNION ALL
    SELECT
        CASE $by WHEN 'currency' THEN currency END AS slice, currency, unnest(['recovered', 'unrecovered']) AS kind,
        unnest([sum(recovered_invoices), sum(failed_invoices) - sum(recovered_invoices)]),
        unnest([sum(recovered_amount), sum(failed_amount) - sum(recovered_amount)])
    FROM recovery_daily
    WHERE merchant_id = $merchant AND scenario = $scenario AND day BETWEEN $since AND $until
        AND ($of_currency IS NULL OR currency = $of_currency) AND (SELECT kept FROM asked)
    GROUP BY currency
),
found AS (
    SELECT
        slice, currency,
        coalesce(sum(payments) FILTER (WHERE kind = 'paid'), 0) AS paid,
        coalesce(sum(payments) FILTER (WHERE kind = 'failed'), 0) AS failed,
        coalesce(sum(amount) FILTER (WHERE kind = 'paid'), 0) AS paid_amount,
        coalesce(sum(amount) FILTER (WHERE kind = 'failed'), 0) AS failed_amount,
        coalesce(sum(amount) FILTER (WHERE kind = 'refunded'), 0) AS refunded_amount,
        coalesce(sum(payments) FILTER (WHERE kind IN ('recovered', 'unrecovered')), 0) AS invoices,
        coalesce(sum(payments) FILTER (WHERE kind = 'recovered'), 0) AS recovered,
        coalesce(sum(amount) FILTER (WHERE kind = 'recovered'), 0) AS recovered_amount
    FROM summed
    GROUP BY slice, currency
)
SELECT
    found.currency,
    CAST(found.paid AS BIGINT) AS paid_payments,
    CAST(found.failed AS BIGINT) AS failed_payments,
    found.failed / nullif(found.failed + found.paid, 0) AS failed_rate,
    found.failed_amount / nullif(found.failed_amount + found.paid_amount, 0) AS failed_amount_rate,
    CAST(found.invoices AS BIGINT) AS failed_invoices,
    CAST(found.recovered AS BIGINT) AS recovered_invoices,
    found.recovered / nullif(found.invoices, 0) AS recovery_rate,
    CAST(found.recovered_amount AS BIGINT) AS recovered_amount,
    CAST(found.refunded_amount AS BIGINT) AS refunded_amount,
    CAST(found.paid_amount - CASE scenarios.refunds WHEN 'subtract' THEN found.refunded_amount ELSE 0 END AS BIGINT)
        AS net_revenue,
    coalesce(strftime(scenarios.set_at, 'set %Y-%m-%d %H:%M'), 'defaults') AS definition,
    found.slice, CASE WHEN $by IS NOT NULL THEN coalesce(found.slice, '(none)') END AS part
FROM found
JOIN scenarios ON scenarios.merchant_id = $merchant AND scenarios.scenario = $scenario
ORDER BY found.slice, found.currency
