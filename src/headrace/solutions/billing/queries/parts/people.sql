-- All customers, with the month in which they began and the values of the merchant's own dimensions.
-- $merchant TEXT: whose
-- $scenario TEXT = live IN (live, {scenario_choices}): by which settings
SELECT
    coalesce(customers.customer_id, cohorts.customer_id) AS customer_id, customers.name, customers.country,
    cohorts.cohort_month,
    CASE WHEN json_type(customers.dimensions) = 'OBJECT'
        THEN TRY_CAST(customers.dimensions AS MAP(VARCHAR, VARCHAR)) END AS named
FROM (SELECT * FROM customers WHERE merchant_id = $merchant) AS customers
FULL JOIN (SELECT * FROM customer_cohorts WHERE merchant_id = $merchant AND scenario = $scenario) AS cohorts
    ON cohorts.customer_id = customers.customer_id
