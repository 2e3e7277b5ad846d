-- How many customers began and ceased to have MRR, per local day.
--
-- Grain: one row per merchant, scenario, day, country, cohort month and type (new, reactivation, churn).
-- customers  how many; active subscribers on a day are new + reactivation - churn since the beginning
SELECT
    moments.merchant_id,
    moments.scenario,
    CAST(timezone(scenarios.time_zone, timezone('UTC', moments.happened_at)) AS DATE) AS day,
    customers.country,
    CAST(date_trunc('month', timezone(scenarios.time_zone, timezone('UTC', moments.first_at))) AS DATE)
        AS cohort_month,
    moments.kind AS type,
    (moments.causes // 16 % 2 = 1 OR moments.causes // 128 % 2 = 1) AS involuntary,
    count(*) AS customers
FROM customer_moments AS moments
LEFT JOIN customers
    ON customers.merchant_id = moments.merchant_id AND customers.customer_id = moments.customer_id
JOIN scenarios
    ON scenarios.merchant_id = moments.merchant_id AND scenarios.scenario = moments.scenario
WHERE moments.kind <> 'change'
GROUP BY ALL
