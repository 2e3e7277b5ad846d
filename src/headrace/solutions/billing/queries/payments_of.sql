-- The payments, refunds and failed invoices behind a number, newest first, with the customer of each.
--
-- One row per payment, refund or invoice that failed, and line of its invoice where a product, price or interval is asked for.
-- kind    paid, failed, refunded; recovered or unrecovered: an invoice, on the day of its first failure
-- amount  in minor units, shared among the lines as payment_recovery.sql does
-- $merchant TEXT: whose
-- $scenario TEXT = live: by which settings
-- $since DATE: first day
-- $until DATE: last day
-- $kind TEXT = NULL: of one kind only
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
-- $rows INTEGER = 1000: how many
WITH asked AS (
    SELECT ($product IS NOT NULL OR $price IS NOT NULL OR $plan_interval IS NOT NULL
            OR $value IS NOT NULL AND coalesce($dimension IN ('product', 'price', 'plan_interval'), FALSE)
            OR $slice IS NOT NULL AND $by IN ('product', 'price', 'plan_interval')) AS per_item
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
    WHERE merchant_id = $merchant AND status IN ('succeeded', 'failed')
    UNION ALL
    SELECT
        refunds.refund_id, payments.invoice_id, coalesce(refunds.customer_id, payments.customer_id), refunds.currency,
        refunds.created_at, refunds.amount, 'refunded' AS kind, NULL
    FROM refunds
    LEFT JOIN payments ON payments.merchant_id = $merchant AND payments.payment_id = refunds.payment_id
    WHERE refunds.merchant_id = $merchant AND refunds.status = 'succeeded'
    UNION ALL
    SELECT
        invoice_id, invoice_id, customer_id, currency, failed_at, amount,
        CASE WHEN recovered_at IS NULL THEN 'unrecovered' ELSE 'recovered' END AS kind, NULL
    FROM payment_failures
    WHERE merchant_id = $merchant
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
)
SELECT
    local_at, kind, amount, currency, customer_id, name, country, invoice_id, payment_id, failure_code, price_id,
    product_id,
    (SELECT coalesce(strftime(set_at, 'set %Y-%m-%d %H:%M'), 'defaults') FROM scenarios
     WHERE merchant_id = $merchant AND scenario = $scenario) AS definition
FROM told
WHERE CAST(local_at AS DATE) BETWEEN $since AND $until AND ($kind IS NULL OR kind = $kind)
    AND ($product IS NULL OR product_id = $product) AND ($price IS NULL OR price_id = $price)
    AND ($plan_interval IS NULL OR plan_interval = $plan_interval) AND ($country IS NULL OR country = $country)
    AND ($cohort IS NULL OR cohort_month = $cohort) AND ($of_currency IS NULL OR currency = $of_currency)
    AND ($value IS NULL OR $value = coalesce(CASE $dimension
        WHEN 'product' THEN product_id WHEN 'price' THEN price_id WHEN 'plan_interval' THEN plan_interval
        WHEN 'country' THEN country WHEN 'cohort' THEN CAST(cohort_month AS TEXT) WHEN 'currency' THEN currency
        ELSE list_extract(map_extract(named, $dimension), 1)
    END, '(none)'))
    AND ($slice IS NULL OR $slice = coalesce(CASE $by
        WHEN 'product' THEN product_id WHEN 'price' THEN price_id WHEN 'plan_interval' THEN plan_interval
        WHEN 'country' THEN country WHEN 'cohort' THEN CAST(cohort_month AS TEXT) WHEN 'currency' THEN currency
        ELSE list_extract(map_extract(named, $by), 1)
    END, '(none)'))
ORDER BY local_at DESC, payment_id, kind, price_id
LIMIT $rows
