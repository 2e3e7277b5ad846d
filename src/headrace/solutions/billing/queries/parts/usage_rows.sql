-- What customers used of metered prices in some months, and what it is worth.
-- $merchant TEXT: whose
-- $scenario TEXT = live IN (live, {scenario_choices}): by which settings
-- $since DATE BETWEEN 1970-01-01 AND 2099-12-31: first month
-- $until DATE BETWEEN 1970-01-01 AND 2099-12-31: last month
WITH people AS {people},
goods AS {goods}
SELECT
    used.month, used.customer_id, people.name, used.meter, used.item_id, used.price_id, used.product_id,
    used.currency, used.units, used.amount, goods.plan_interval, people.country, people.cohort_month, people.named
FROM usage_monthly AS used
LEFT JOIN people ON people.customer_id = used.customer_id
LEFT JOIN goods ON goods.price_id = used.price_id
WHERE used.merchant_id = $merchant AND used.scenario = $scenario
    AND used.month BETWEEN date_trunc('month', $since) AND $until
