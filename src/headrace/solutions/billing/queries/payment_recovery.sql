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
-- $scenario TEXT = live IN (live, {scenario_choices}): by which settings
-- $since DATE BETWEEN 1970-01-01 AND 2099-12-31: first day
-- $until DATE BETWEEN 1970-01-01 AND 2099-12-31: last day
WITH told AS (
    SELECT * FROM {payment_rows} AS flows WHERE NOT {plain(by => nullif($by, 'currency'), of_currency => NULL)}
),
summed AS (
    SELECT
        {sliced} AS slice,
        currency, kind, count(DISTINCT payment_id) AS payments, sum(amount) AS amount
    FROM told
    WHERE CAST(local_at AS DATE) BETWEEN $since AND $until
        AND {filtered}
    GROUP BY slice, currency, kind
    UNION ALL
    SELECT CASE $by WHEN 'currency' THEN currency END AS slice, currency, kind, sum(payments), sum(amount)
    FROM cash_daily
    WHERE merchant_id = $merchant AND scenario = $scenario AND day BETWEEN $since AND $until
        AND ($of_currency IS NULL OR currency = $of_currency)
        AND {plain(by => nullif($by, 'currency'), of_currency => NULL)}
    GROUP BY currency, kind
    UNION ALL
    SELECT
        CASE $by WHEN 'currency' THEN currency END AS slice, currency, unnest(['recovered', 'unrecovered']) AS kind,
        unnest([sum(recovered_invoices), sum(failed_invoices) - sum(recovered_invoices)]),
        unnest([sum(recovered_amount), sum(failed_amount) - sum(recovered_amount)])
    FROM recovery_daily
    WHERE merchant_id = $merchant AND scenario = $scenario AND day BETWEEN $since AND $until
        AND ($of_currency IS NULL OR currency = $of_currency)
        AND {plain(by => nullif($by, 'currency'), of_currency => NULL)}
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
