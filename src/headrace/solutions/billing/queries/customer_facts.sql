-- One customer, as it is now: who it is, and its MRR, per currency in minor units.
-- $merchant TEXT: whose customer
-- $scenario TEXT = live IN (live, {scenario_choices}): by which settings
-- $customer TEXT = '': which customer
SELECT
    customers.customer_id, customers.name, customers.country, customers.created_at,
    CAST(customers.dimensions AS TEXT) AS dimensions,
    coalesce(held.currency, scenarios.reporting_currency) AS currency,
    CAST(coalesce(held.mrr, 0) AS BIGINT) AS mrr,
    coalesce(held.movements, 0) AS movements, held.cohort_month, held.changed_at,
    coalesce(strftime(scenarios.set_at, 'set %Y-%m-%d %H:%M'), 'defaults') AS definition
FROM customers
JOIN scenarios ON scenarios.merchant_id = $merchant AND scenarios.scenario = $scenario
LEFT JOIN (
    SELECT
        currency, sum(amount) AS mrr, count(*) AS movements, min(cohort_month) AS cohort_month,
        max(local_at) AS changed_at
    FROM mrr_movements
    WHERE merchant_id = $merchant AND scenario = $scenario AND customer_id = $customer
        AND happened_at <= timezone('UTC', now())
    GROUP BY currency
) AS held ON TRUE
WHERE customers.merchant_id = $merchant AND customers.customer_id = $customer
ORDER BY mrr DESC, currency
