-- All scenarios of a merchant side by side on one day and over the 30 days up to it: the same data, other definitions.
--
-- Per scenario and currency; amounts in minor units.
-- $merchant TEXT: whose
-- $day DATE: the last day
WITH money AS (
    SELECT
        scenario, currency,
        sum(amount) AS mrr,
        coalesce(sum(amount) FILTER (WHERE day <= $day - 30), 0) AS start_mrr,
        coalesce(sum(amount) FILTER (WHERE day > $day - 30 AND type = 'new'), 0) AS new_mrr,
        coalesce(sum(amount) FILTER (WHERE day > $day - 30 AND type = 'reactivation'), 0) AS reactivation_mrr,
        coalesce(sum(amount) FILTER (WHERE day > $day - 30 AND type = 'expansion'), 0) AS expansion_mrr,
        coalesce(sum(amount) FILTER (WHERE day > $day - 30 AND type = 'contraction'), 0) AS contraction_mrr,
        coalesce(sum(amount) FILTER (WHERE day > $day - 30 AND type = 'churn'), 0) AS churned_mrr
    FROM mrr_daily
    WHERE merchant_id = $merchant AND day <= $day
    GROUP BY scenario, currency
),
people AS (
    SELECT
        scenario,
        sum(CASE type WHEN 'churn' THEN -customers ELSE customers END) AS subscribers,
        coalesce(sum(CASE type WHEN 'churn' THEN -customers ELSE customers END) FILTER (WHERE day <= $day - 30), 0)
            AS start_subscribers,
        coalesce(sum(customers) FILTER (WHERE day > $day - 30 AND type = 'new'), 0) AS new_subscribers,
        coalesce(sum(customers) FILTER (WHERE day > $day - 30 AND type = 'churn'), 0) AS churned_subscribers
    FROM subscribers_daily
    WHERE merchant_id = $merchant AND day <= $day
    GROUP BY scenario
)
SELECT
    scenarios.scenario, scenarios.preset, money.currency,
    CAST(money.mrr AS BIGINT) AS mrr,
    CAST(money.start_mrr AS BIGINT) AS start_mrr,
    CAST(money.new_mrr AS BIGINT) AS new_mrr,
    CAST(money.reactivation_mrr AS BIGINT) AS reactivation_mrr,
    CAST(money.expansion_mrr AS BIGINT) AS expansion_mrr,
    CAST(money.contraction_mrr AS BIGINT) AS contraction_mrr,
    CAST(money.churned_mrr AS BIGINT) AS churned_mrr,
    CAST(people.subscribers AS BIGINT) AS subscribers,
    people.churned_subscribers / nullif(people.start_subscribers
        + CASE scenarios.churn_formula WHEN 'stripe' THEN people.new_subscribers ELSE 0 END, 0) AS churn_rate,
    (-money.churned_mrr - money.contraction_mrr) / nullif(money.start_mrr, 0) AS gross_mrr_churn,
    coalesce(strftime(scenarios.set_at, 'set %Y-%m-%d %H:%M'), 'defaults') AS definition
FROM scenarios
LEFT JOIN money ON money.scenario = scenarios.scenario
LEFT JOIN people ON people.scenario = scenarios.scenario
WHERE scenarios.merchant_id = $merchant
ORDER BY scenarios.scenario, money.currency
