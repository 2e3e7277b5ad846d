-- What every movement of a customer takes from its customer and scenario, so that it is joined once.
--
-- Grain: one row per merchant, scenario and customer that ever had MRR.
-- cohort_month  in which the customer first had MRR, in the scenario's time zone; the moment itself is not told: it
--               moves far more often, and would take all movements of the customer along
-- country       as the customer is now
-- time_zone     of the scenario
WITH firsts AS (
    SELECT merchant_id, scenario, customer_id, min(happened_at) AS first_at
    FROM mrr_changes
    GROUP BY merchant_id, scenario, customer_id
),
months AS (
    SELECT
        firsts.merchant_id, firsts.scenario, firsts.customer_id, scenarios.time_zone,
        CAST(date_trunc('month', timezone(scenarios.time_zone, timezone('UTC', firsts.first_at))) AS DATE)
            AS cohort_month
    FROM firsts
    JOIN scenarios
        ON scenarios.merchant_id = firsts.merchant_id AND scenarios.scenario = firsts.scenario
)
SELECT
    months.merchant_id,
    months.scenario,
    months.customer_id,
    months.cohort_month,
    customers.country,
    months.time_zone
FROM months
LEFT JOIN customers
    ON customers.merchant_id = months.merchant_id AND customers.customer_id = months.customer_id
