-- What every movement of a customer takes from its customer and scenario, so that it is joined once.
--
-- Grain: one row per merchant, scenario and customer that ever had MRR.
-- first_at      when the customer first had MRR, UTC; cohort_month is the month of it in the scenario's time zone
-- country       as the customer is now
-- time_zone     of the scenario
WITH firsts AS (
    SELECT merchant_id, scenario, customer_id, min(happened_at) AS first_at
    FROM mrr_changes
    GROUP BY merchant_id, scenario, customer_id
)
SELECT
    firsts.merchant_id,
    firsts.scenario,
    firsts.customer_id,
    firsts.first_at,
    CAST(date_trunc('month', timezone(scenarios.time_zone, timezone('UTC', firsts.first_at))) AS DATE) AS cohort_month,
    customers.country,
    scenarios.time_zone
FROM firsts
LEFT JOIN customers
    ON customers.merchant_id = firsts.merchant_id AND customers.customer_id = firsts.customer_id
JOIN scenarios
    ON scenarios.merchant_id = firsts.merchant_id AND scenarios.scenario = firsts.scenario
