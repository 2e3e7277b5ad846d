-- All scenarios of a merchant side by side on one day and over the 30 days up to it: the same data, other definitions;
-- what is in force first. scenario_reasons.sql says why they differ.
--
-- One row per scenario, in minor units of its reporting currency: MRR 30 days ago, movements and FX add up to MRR. Money
-- is NULL while an exchange rate is missing, and `problem` says which.
-- difference  MRR less that of the settings in force; NULL where the two report in different currencies
-- $merchant TEXT: whose
-- $day DATE BETWEEN 1970-01-01 AND 2099-12-31: the last day
WITH money AS (
    SELECT
        scenario,
        string_agg(DISTINCT currency, ', ' ORDER BY currency) FILTER (WHERE amount IS NULL) AS lacking,
        sum(amount) AS mrr,
        coalesce(sum(amount) FILTER (WHERE day <= $day - 30), 0) AS start_mrr,
        coalesce(sum(amount) FILTER (WHERE day > $day - 30 AND type = 'new'), 0) AS new_mrr,
        coalesce(sum(amount) FILTER (WHERE day > $day - 30 AND type = 'reactivation'), 0) AS reactivation_mrr,
        coalesce(sum(amount) FILTER (WHERE day > $day - 30 AND type = 'expansion'), 0) AS expansion_mrr,
        coalesce(sum(amount) FILTER (WHERE day > $day - 30 AND type = 'contraction'), 0) AS contraction_mrr,
        coalesce(sum(amount) FILTER (WHERE day > $day - 30 AND type = 'churn'), 0) AS churned_mrr,
        coalesce(sum(amount) FILTER (
            WHERE day > $day - 30 AND type IN ('FX', 'transfer in', 'transfer out')), 0) AS fx_mrr
    FROM mrr_reported
    WHERE merchant_id = $merchant AND day <= $day
    GROUP BY scenario
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
),
told AS (
    SELECT
        scenarios.scenario, scenarios.preset, scenarios.reporting_currency AS currency, scenarios.set_at,
        scenarios.churn_formula, money.lacking,
        CASE WHEN money.lacking IS NULL THEN 1 END AS known,
        coalesce(money.mrr, 0) AS mrr, coalesce(money.start_mrr, 0) AS start_mrr,
        coalesce(money.new_mrr, 0) AS new_mrr, coalesce(money.reactivation_mrr, 0) AS reactivation_mrr,
        coalesce(money.expansion_mrr, 0) AS expansion_mrr, coalesce(money.contraction_mrr, 0) AS contraction_mrr,
        coalesce(money.churned_mrr, 0) AS churned_mrr, coalesce(money.fx_mrr, 0) AS fx_mrr,
        coalesce(people.subscribers, 0) AS subscribers, people.start_subscribers, people.new_subscribers,
        people.churned_subscribers
    FROM scenarios
    LEFT JOIN money ON money.scenario = scenarios.scenario
    LEFT JOIN people ON people.scenario = scenarios.scenario
    WHERE scenarios.merchant_id = $merchant
)
SELECT
    told.scenario, told.preset, told.currency,
    CAST(told.known * told.mrr AS BIGINT) AS mrr,
    CAST(told.known * live.known * (told.mrr - live.mrr) AS BIGINT) AS difference,
    CAST(told.known * told.start_mrr AS BIGINT) AS start_mrr,
    CAST(told.known * told.new_mrr AS BIGINT) AS new_mrr,
    CAST(told.known * told.reactivation_mrr AS BIGINT) AS reactivation_mrr,
    CAST(told.known * told.expansion_mrr AS BIGINT) AS expansion_mrr,
    CAST(told.known * told.contraction_mrr AS BIGINT) AS contraction_mrr,
    CAST(told.known * told.churned_mrr AS BIGINT) AS churned_mrr,
    CAST(told.known * told.fx_mrr AS BIGINT) AS fx_mrr,
    CAST(told.subscribers AS BIGINT) AS subscribers,
    told.churned_subscribers / nullif(told.start_subscribers
        + CASE told.churn_formula WHEN 'stripe' THEN told.new_subscribers ELSE 0 END, 0) AS churn_rate,
    told.known * (-told.churned_mrr - told.contraction_mrr) / nullif(told.start_mrr, 0) AS gross_mrr_churn,
    coalesce(strftime(told.set_at, 'set %Y-%m-%d %H:%M'), 'defaults') AS definition,
    'no exchange rate between ' || told.lacking || ' and ' || told.currency AS problem
FROM told
LEFT JOIN told AS live ON live.scenario = 'live' AND live.currency = told.currency
ORDER BY told.scenario <> 'live', told.scenario
