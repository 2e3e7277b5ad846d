-- Failed invoices by the local day on which they first failed, and how many of them were recovered since.
--
-- Grain: one row per merchant, scenario, day and currency. Amounts in minor units.
SELECT
    failures.merchant_id, scenarios.scenario,
    CAST(timezone(scenarios.time_zone, timezone('UTC', failures.failed_at)) AS DATE) AS day,
    failures.currency,
    count(*) AS failed_invoices,
    CAST(sum(failures.amount) AS BIGINT) AS failed_amount,
    count(failures.recovered_at) AS recovered_invoices,
    CAST(coalesce(sum(failures.amount) FILTER (WHERE failures.recovered_at IS NOT NULL), 0) AS BIGINT)
        AS recovered_amount
FROM payment_failures AS failures
JOIN scenarios ON scenarios.merchant_id = failures.merchant_id
GROUP BY ALL
