-- Payments that failed and what became of them, per currency.
--
-- failed_rate        failed payments / all payments, by number; failed_amount_rate by amount
-- recovery_rate      recovered / failed invoices of those whose first failure lies in the range
-- recovered_amount   what came of them after all, in minor units
-- net_revenue        paid, less refunds where the scenario subtracts them
-- $merchant TEXT: whose
-- $scenario TEXT = live: by which settings
-- $since DATE: first day
-- $until DATE: last day
WITH cash AS (
    SELECT
        currency,
        coalesce(sum(payments) FILTER (WHERE kind = 'paid'), 0) AS paid,
        coalesce(sum(payments) FILTER (WHERE kind = 'failed'), 0) AS failed,
        coalesce(sum(amount) FILTER (WHERE kind = 'paid'), 0) AS paid_amount,
        coalesce(sum(amount) FILTER (WHERE kind = 'failed'), 0) AS failed_amount,
        coalesce(sum(amount) FILTER (WHERE kind = 'refunded'), 0) AS refunded_amount
    FROM cash_daily
    WHERE merchant_id = $merchant AND scenario = $scenario AND day BETWEEN $since AND $until
    GROUP BY currency
),
recoveries AS (
    SELECT
        currency, sum(failed_invoices) AS invoices, sum(failed_amount) AS amount,
        sum(recovered_invoices) AS recovered, sum(recovered_amount) AS recovered_amount
    FROM recovery_daily
    WHERE merchant_id = $merchant AND scenario = $scenario AND day BETWEEN $since AND $until
    GROUP BY currency
)
SELECT
    cash.currency,
    CAST(cash.paid AS BIGINT) AS paid_payments,
    CAST(cash.failed AS BIGINT) AS failed_payments,
    cash.failed / nullif(cash.failed + cash.paid, 0) AS failed_rate,
    cash.failed_amount / nullif(cash.failed_amount + cash.paid_amount, 0) AS failed_amount_rate,
    CAST(coalesce(recoveries.invoices, 0) AS BIGINT) AS failed_invoices,
    CAST(coalesce(recoveries.recovered, 0) AS BIGINT) AS recovered_invoices,
    recoveries.recovered / nullif(recoveries.invoices, 0) AS recovery_rate,
    CAST(coalesce(recoveries.recovered_amount, 0) AS BIGINT) AS recovered_amount,
    CAST(cash.refunded_amount AS BIGINT) AS refunded_amount,
    CAST(cash.paid_amount - CASE scenarios.refunds WHEN 'subtract' THEN cash.refunded_amount ELSE 0 END AS BIGINT)
        AS net_revenue,
    coalesce(strftime(scenarios.set_at, 'set %Y-%m-%d %H:%M'), 'defaults') AS definition
FROM cash
JOIN scenarios ON scenarios.merchant_id = $merchant AND scenarios.scenario = $scenario
LEFT JOIN recoveries ON recoveries.currency = cash.currency
ORDER BY cash.currency
