-- How many customers began and ceased to have MRR, per local day.
--
-- Grain: one row per merchant, scenario, day, country, cohort month and type (new, reactivation, churn).
-- customers  how many; active subscribers on a day are new + reactivation - churn since the beginning
SELECT
    moments.merchant_id,
    moments.scenario,
    CAST(timezone(cohorts.time_zone, timezone('UTC', moments.happened_at)) AS DATE) AS day,
    cohorts.country,
    cohorts.cohort_month,
    moments.kind AS type,
    moments.involuntary,
    count(*) AS customers
FROM customer_moments AS moments
JOIN customer_cohorts AS cohorts
    ON cohorts.merchant_id = moments.merchant_id AND cohorts.scenario = moments.scenario
    AND cohorts.customer_id = moments.customer_id
WHERE moments.kind <> 'change'
GROUP BY ALL
