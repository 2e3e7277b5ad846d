-- Money that came, failed to come and went back, per local day.
--
-- Grain: one row per merchant, scenario, day, currency and kind (`paid`, `failed`, `refunded`).
-- amount  in minor units; refunds are positive here, and lower net revenue where the scenario subtracts them
WITH flows AS (
    SELECT
        merchant_id, currency, CASE status WHEN 'succeeded' THEN 'paid' ELSE 'failed' END AS kind,
        time_bucket(INTERVAL 15 MINUTE, created_at) AS quarter, amount
    FROM payments
    WHERE status IN ('succeeded', 'failed')
    UNION ALL
    SELECT
        merchant_id, currency, 'refunded' AS kind, time_bucket(INTERVAL 15 MINUTE, created_at) AS quarter, amount
    FROM refunds
    WHERE status = 'succeeded'
),
quarters AS (
    SELECT merchant_id, currency, kind, quarter, CAST(sum(amount) AS BIGINT) AS amount, count(*) AS payments
    FROM flows
    GROUP BY merchant_id, currency, kind, quarter
)
SELECT
    quarters.merchant_id, scenarios.scenario,
    CAST(timezone(scenarios.time_zone, timezone('UTC', quarters.quarter)) AS DATE) AS day,
    quarters.currency, quarters.kind,
    CAST(sum(quarters.amount) AS BIGINT) AS amount, CAST(sum(quarters.payments) AS BIGINT) AS payments
FROM quarters
JOIN scenarios ON scenarios.merchant_id = quarters.merchant_id
GROUP BY ALL
