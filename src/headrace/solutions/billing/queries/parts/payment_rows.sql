-- Payments, refunds and failed invoices around some days, each with its share in what its invoice is for.
-- $merchant TEXT: whose
-- $scenario TEXT = live IN (live, {scenario_choices}): by which settings
-- $since DATE BETWEEN 1970-01-01 AND 2099-12-31: first day
-- $until DATE BETWEEN 1970-01-01 AND 2099-12-31: last day
-- $by TEXT = NULL IN (product, price, plan_interval, country, cohort, currency, {own_dimensions}): a row for each slice, named in `slice` (in `part`, as `$value` takes it); NULL: one for all
WITH people AS {people},
goods AS {goods},
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
        WHERE merchant_id = $merchant AND {by_goods(by => $by)}
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
)
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
