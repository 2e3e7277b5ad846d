-- The metrics of a merchant, period by period: MRR and how it came about, in the reporting currency; subscribers;
-- churn and retention. Any filter leaves a slice, which adds up in itself; so does each slice that `$by` parts. Of slices
-- by product, price, interval or currency a customer is a subscriber of each in which it has MRR.
--
-- Start, movements, transfers (zero but in slices) and the FX adjustment add up to the end, to the cent: each day's
-- balances and movements are converted per currency at that day's rate, rounded to minor units, half away from zero,
-- then added; what a day's balance differs from the day before beyond its movements is FX. `rate_rule` says which
-- day's rate: the day's own (the newest known on it), the day's before, or the latest known for all days.
-- Ratios without a denominator are NULL; so is money while an exchange rate is missing, and `problem` says which.
-- Amounts are minor units of `currency`; arr is 12 x mrr. churn_rate is by the
-- merchant's formula: churned / (start + new) is Stripe's, churned / start the common one. ltv = arpu / churn_rate.
-- $merchant TEXT: whose
-- $scenario TEXT = live IN (live, {scenario_choices}): by which settings
-- $since DATE BETWEEN 1970-01-01 AND 2099-12-31: first day
-- $until DATE BETWEEN 1970-01-01 AND 2099-12-31: last day
-- $period TEXT = month IN (day, week, month, quarter, year, all): how long a row's days are; all: one row
WITH chosen AS (
    SELECT
        reporting_currency, rate_rule, churn_formula, reactivation_days,
        CASE week_start WHEN 'sunday' THEN 1 WHEN 'saturday' THEN 2 ELSE 0 END AS week_shift
    FROM scenarios
    WHERE merchant_id = $merchant AND scenario = $scenario
),
days AS (
    SELECT CAST(day AS DATE) AS day
    FROM generate_series(
        CAST($since AS TIMESTAMP) - INTERVAL 1 DAY, CAST($until AS TIMESTAMP), INTERVAL 1 DAY) AS series(day)
),
named AS (
    SELECT * FROM {names} AS names WHERE {by_customer}
),
moves AS (
    SELECT
        day, currency, type, amount, product_id, price_id, plan_interval, country, cohort_month,
        CAST(NULL AS MAP(VARCHAR, VARCHAR)) AS named
    FROM mrr_daily
    WHERE merchant_id = $merchant AND scenario = $scenario AND day <= $until AND NOT {by_customer}
    UNION ALL
    SELECT
        moves.day, moves.currency, moves.type, moves.amount, moves.product_id, moves.price_id, moves.plan_interval,
        moves.country, moves.cohort_month, named.named
    FROM mrr_movements AS moves
    LEFT JOIN named ON named.customer_id = moves.customer_id
    WHERE moves.merchant_id = $merchant AND moves.scenario = $scenario AND moves.day <= $until
        AND {by_customer}
),
moved AS (
    SELECT
        {sliced} AS slice,
        greatest(day, $since - 1) AS day, currency,
        CASE WHEN day < $since THEN 'before' ELSE type END AS type, sum(amount) AS amount
    FROM moves
    WHERE {filtered}
    GROUP BY ALL
),
balances AS (
    SELECT
        known.slice, days.day, known.currency, 'balance' AS type,
        sum(coalesce(net.amount, 0)) OVER (PARTITION BY known.slice, known.currency ORDER BY days.day) AS amount
    FROM days
    CROSS JOIN (SELECT DISTINCT slice, currency FROM moved) AS known
    LEFT JOIN (SELECT slice, day, currency, sum(amount) AS amount FROM moved GROUP BY slice, day, currency) AS net
        ON net.day = days.day AND net.currency = known.currency AND net.slice IS NOT DISTINCT FROM known.slice
),
amounts AS (
    SELECT * FROM balances
    UNION ALL
    SELECT slice, day, currency, type, amount FROM moved WHERE type <> 'before'
),
rated AS (
    SELECT
        amounts.slice, amounts.day, amounts.type, amounts.currency, CAST(amounts.amount AS HUGEINT) AS amount,
        CASE WHEN amounts.currency = chosen.reporting_currency OR amounts.amount = 0 THEN 1
            ELSE CAST(into_rate.rate AS HUGEINT) * CAST(power(10, into_rate.minor_digits) AS HUGEINT) END AS up,
        CASE WHEN amounts.currency = chosen.reporting_currency OR amounts.amount = 0 THEN 1
            ELSE CAST(from_rate.rate AS HUGEINT) * CAST(power(10, from_rate.minor_digits) AS HUGEINT) END AS down
    FROM (
        SELECT
            amounts.*,
            CASE chosen.rate_rule WHEN 'day' THEN amounts.day WHEN 'previous_day' THEN amounts.day - 1
                ELSE DATE '9999-12-30' END AS rate_day
        FROM amounts CROSS JOIN chosen
    ) AS amounts
    CROSS JOIN chosen
    LEFT JOIN currency_rates AS from_rate
        ON from_rate.currency = amounts.currency
        AND from_rate.day_from <= amounts.rate_day AND amounts.rate_day < from_rate.day_until
    LEFT JOIN currency_rates AS into_rate
        ON into_rate.currency = chosen.reporting_currency
        AND into_rate.day_from <= amounts.rate_day AND amounts.rate_day < into_rate.day_until
),
lacking AS (
    SELECT slice, string_agg(DISTINCT currency, ', ' ORDER BY currency) AS currencies
    FROM rated
    WHERE up IS NULL OR down IS NULL
    GROUP BY slice
),
converted AS (
    SELECT
        slice, day, type,
        CASE WHEN count(*) = count(up) AND count(*) = count(down)
            THEN CAST(sum(sign(amount) * ((2 * abs(amount) * up + down) // (2 * down))) AS BIGINT) END AS amount
    FROM rated
    GROUP BY slice, day, type
),
slices AS (
    SELECT DISTINCT slice FROM moved WHERE $by IS NOT NULL
    UNION ALL
    SELECT CAST(NULL AS TEXT) AS slice WHERE $by IS NULL
),
per_day AS (
    SELECT
        slices.slice, days.day,
        coalesce(max(amount) FILTER (WHERE type = 'balance'), 0) AS mrr,
        coalesce(sum(amount) FILTER (WHERE type = 'new'), 0) AS new,
        coalesce(sum(amount) FILTER (WHERE type = 'reactivation'), 0) AS reactivation,
        coalesce(sum(amount) FILTER (WHERE type = 'expansion'), 0) AS expansion,
        coalesce(sum(amount) FILTER (WHERE type = 'contraction'), 0) AS contraction,
        coalesce(sum(amount) FILTER (WHERE type = 'churn'), 0) AS churn,
        coalesce(sum(amount) FILTER (WHERE type = 'transfer in'), 0) AS transfer_in,
        coalesce(sum(amount) FILTER (WHERE type = 'transfer out'), 0) AS transfer_out,
        count(*) FILTER (WHERE type IS NOT NULL AND amount IS NULL) AS unknown
    FROM days
    CROSS JOIN slices
    LEFT JOIN converted ON converted.day = days.day AND converted.slice IS NOT DISTINCT FROM slices.slice
    GROUP BY slices.slice, days.day
),
with_fx AS (
    SELECT
        *,
        lag(mrr) OVER (PARTITION BY slice ORDER BY day) AS mrr_before
    FROM per_day
),
slice_moments AS (
    SELECT
        {sliced} AS slice,
        moves.customer_id, moves.happened_at, min(moves.day) AS day, sum(moves.amount) AS amount
    FROM mrr_movements AS moves
    LEFT JOIN named ON named.customer_id = moves.customer_id
    WHERE moves.merchant_id = $merchant AND moves.scenario = $scenario AND moves.day <= $until
        AND ({by_item} OR {by_customer})
        AND {filtered}
    GROUP BY 1, 2, 3
    HAVING sum(moves.amount) <> 0
),
slice_runs AS (
    SELECT
        *,
        sum(amount) OVER course AS after,
        lag(happened_at) OVER course AS gone_at
    FROM slice_moments
    WINDOW course AS (PARTITION BY slice, customer_id ORDER BY happened_at)
),
turns AS (
    SELECT
        slice, day,
        CASE WHEN after = 0 THEN 'churn'
            WHEN gone_at IS NULL OR happened_at > gone_at + to_days(CAST(chosen.reactivation_days
                AS INTEGER)) THEN 'new'
            ELSE 'reactivation' END AS type,
        1 AS customers
    FROM slice_runs
    CROSS JOIN chosen
    WHERE after = 0 OR after = amount
    UNION ALL
    SELECT
        CASE $by WHEN 'country' THEN country WHEN 'cohort' THEN CAST(cohort_month AS TEXT) END AS slice,
        day, type, customers
    FROM subscribers_daily
    WHERE merchant_id = $merchant AND scenario = $scenario AND day <= $until
        AND NOT ({by_item} OR {by_customer})
        AND ($country IS NULL OR country = $country) AND ($cohort IS NULL OR cohort_month = date_trunc('month', $cohort))
        AND ($value IS NULL OR $value = coalesce(CASE $dimension
            WHEN 'country' THEN country WHEN 'cohort' THEN CAST(cohort_month AS TEXT) END, '(none)'))
),
subscribers AS (
    SELECT
        slice, greatest(day, $since - 1) AS day,
        sum(CASE type WHEN 'churn' THEN -customers ELSE customers END) AS net,
        coalesce(sum(customers) FILTER (WHERE type = 'new'), 0) AS new,
        coalesce(sum(customers) FILTER (WHERE type = 'reactivation'), 0) AS reactivated,
        coalesce(sum(customers) FILTER (WHERE type = 'churn'), 0) AS churned
    FROM turns
    GROUP BY 1, 2
),
daily AS (
    SELECT
        with_fx.*,
        sum(coalesce(subscribers.net, 0)) OVER (PARTITION BY with_fx.slice ORDER BY with_fx.day) AS active,
        coalesce(subscribers.net, 0) AS net_subscribers,
        coalesce(subscribers.new, 0) AS new_subscribers,
        coalesce(subscribers.reactivated, 0) AS reactivated_subscribers,
        coalesce(subscribers.churned, 0) AS churned_subscribers
    FROM with_fx
    LEFT JOIN subscribers
        ON subscribers.day = with_fx.day AND subscribers.slice IS NOT DISTINCT FROM with_fx.slice
),
periods AS (
    SELECT
        slice,
        {period_of} AS period,
        min(day) AS first_day,
        max(day) AS last_day,
        sum(unknown) + max(CASE WHEN mrr IS NULL THEN 1 ELSE 0 END) AS unknown,
        arg_min(mrr_before, day) AS start_mrr,
        sum(new) AS new_mrr, sum(reactivation) AS reactivation_mrr, sum(expansion) AS expansion_mrr,
        sum(contraction) AS contraction_mrr, sum(churn) AS churned_mrr,
        sum(transfer_in) AS transfer_in_mrr, sum(transfer_out) AS transfer_out_mrr,
        sum(mrr - mrr_before - new - reactivation - expansion - contraction - churn - transfer_in - transfer_out)
            AS fx_mrr,
        arg_max(mrr, day) AS mrr,
        arg_min(active - net_subscribers, day) AS start_subscribers,
        sum(new_subscribers) AS new_subscribers, sum(reactivated_subscribers) AS reactivated_subscribers,
        sum(churned_subscribers) AS churned_subscribers,
        arg_max(active, day) AS subscribers
    FROM daily
    CROSS JOIN chosen
    WHERE day >= $since
    GROUP BY 1, 2
)
SELECT
    periods.period, periods.first_day, periods.last_day, periods.first_day - 1 AS day_before,
    chosen.reporting_currency AS currency,
    CASE WHEN unknown = 0 THEN CAST(start_mrr AS BIGINT) END AS start_mrr,
    CASE WHEN unknown = 0 THEN CAST(new_mrr AS BIGINT) END AS new_mrr,
    CASE WHEN unknown = 0 THEN CAST(reactivation_mrr AS BIGINT) END AS reactivation_mrr,
    CASE WHEN unknown = 0 THEN CAST(expansion_mrr AS BIGINT) END AS expansion_mrr,
    CASE WHEN unknown = 0 THEN CAST(contraction_mrr AS BIGINT) END AS contraction_mrr,
    CASE WHEN unknown = 0 THEN CAST(churned_mrr AS BIGINT) END AS churned_mrr,
    CASE WHEN unknown = 0 THEN CAST(transfer_in_mrr AS BIGINT) END AS transfer_in_mrr,
    CASE WHEN unknown = 0 THEN CAST(transfer_out_mrr AS BIGINT) END AS transfer_out_mrr,
    CASE WHEN unknown = 0 THEN CAST(transfer_in_mrr + transfer_out_mrr AS BIGINT) END AS transfer_mrr,
    CASE WHEN unknown = 0 THEN CAST(fx_mrr AS BIGINT) END AS fx_mrr,
    CASE WHEN unknown = 0 THEN CAST(mrr AS BIGINT) END AS mrr,
    CASE WHEN unknown = 0 THEN CAST(mrr * 12 AS BIGINT) END AS arr,
    CASE WHEN unknown = 0 THEN CAST(mrr - start_mrr AS BIGINT) END AS mrr_growth,
    CASE WHEN unknown = 0 THEN CAST(-churned_mrr - contraction_mrr AS BIGINT) END AS churned_revenue,
    CAST(start_subscribers AS BIGINT) AS start_subscribers,
    CAST(new_subscribers AS BIGINT) AS new_subscribers,
    CAST(reactivated_subscribers AS BIGINT) AS reactivated_subscribers,
    CAST(churned_subscribers AS BIGINT) AS churned_subscribers,
    CAST(subscribers AS BIGINT) AS subscribers,
    churned_subscribers / nullif(
        start_subscribers + CASE chosen.churn_formula WHEN 'stripe' THEN new_subscribers ELSE 0 END, 0) AS churn_rate,
    churned_subscribers / nullif(start_subscribers + new_subscribers, 0) AS churn_rate_stripe,
    churned_subscribers / nullif(start_subscribers, 0) AS churn_rate_common,
    known * (-churned_mrr - contraction_mrr) / nullif(start_mrr, 0) AS gross_mrr_churn,
    known * (-churned_mrr - contraction_mrr - expansion_mrr - reactivation_mrr) / nullif(start_mrr, 0)
        AS net_mrr_churn,
    1 - known * (-churned_mrr - contraction_mrr - expansion_mrr) / nullif(start_mrr, 0) AS nrr,
    1 - known * (-churned_mrr - contraction_mrr) / nullif(start_mrr, 0) AS grr,
    known * (new_mrr + expansion_mrr + reactivation_mrr) / nullif(-churned_mrr - contraction_mrr, 0) AS quick_ratio,
    known * mrr / nullif(subscribers, 0) AS arpu,
    known * mrr / nullif(subscribers, 0) / nullif(churned_subscribers / nullif(
        start_subscribers + CASE chosen.churn_formula WHEN 'stripe' THEN new_subscribers ELSE 0 END, 0), 0) AS ltv,
    {definition} AS definition,
    CASE WHEN unknown > 0
        THEN 'no exchange rate between ' || lacking.currencies || ' and ' || chosen.reporting_currency END AS problem,
    periods.slice, CASE WHEN $by IS NOT NULL THEN coalesce(periods.slice, '(none)') END AS part
FROM (SELECT *, CASE WHEN unknown = 0 THEN 1 END AS known FROM periods) AS periods
CROSS JOIN chosen
LEFT JOIN lacking ON lacking.slice IS NOT DISTINCT FROM periods.slice
ORDER BY periods.period, mrr DESC NULLS LAST, periods.slice
