-- Usage per meter and local day.
--
-- Grain: one row per merchant, scenario, day and meter.
SELECT
    quarters.merchant_id, scenarios.scenario,
    CAST(timezone(scenarios.time_zone, timezone('UTC', quarters.quarter)) AS DATE) AS day,
    quarters.meter, sum(quarters.units) AS units, CAST(sum(quarters.events) AS BIGINT) AS events
FROM (
    SELECT merchant_id, meter, quarter, sum(units) AS units, CAST(sum(events) AS BIGINT) AS events
    FROM usage_quarters
    GROUP BY merchant_id, meter, quarter
) AS quarters
JOIN scenarios ON scenarios.merchant_id = quarters.merchant_id
GROUP BY ALL
