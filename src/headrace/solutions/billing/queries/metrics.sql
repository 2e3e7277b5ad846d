-- The metrics of a merchant, period by period: MRR and how it came about, in the reporting currency; subscribers;
-- churn and retention. Any filter leaves a slice, which adds up in itself.
--
-- Start, movements, transfers (zero but in slices) and the FX adjustment add up to the end, to the cent: each day's
-- balances and movements are converted per currency at that day's rate, rounded to minor units, half away from zero,
-- then added; what a day's balance differs from the day before beyond its movements is FX. `rate_rule` says which
-- day's rate: the day's own (the newest known on it), the day's before, or the latest known for all days.
-- Ratios without a denominator are NULL; so is money while an exchange rate is missing, and `problem` says which.
-- Amounts are minor units of `currency`; arr is 12 x mrr. churn_rate is by the
-- merchant's formula: churned / (start + new) is Stripe's, churned / start the common one. ltv = arpu / churn_rate.
-- $merchant TEXT: whose
-- $scenario TEXT = live: by which settings
-- $since DATE: first day
-- $until DATE: last day
-- $period TEXT = month: day, week, month, quarter, year, or all for one period
-- $product TEXT = NULL: of one product only
-- $price TEXT = NULL: of one price only
-- $plan_interval TEXT = NULL: of prices per `month`, `year`, `3 months`, …
-- $country TEXT = NULL: of customers of one country only
-- $cohort DATE = NULL: of customers who began in one month only (its first day)
-- $of_currency TEXT = NULL: of one currency only
-- $dimension TEXT = NULL: of customers with a value of the merchant's own dimension only, such as `segment`
-- $value TEXT = NULL: which value
WITH chosen AS (
    SELECT
        reporting_currency, rate_rule, churn_formula,
        CASE week_start WHEN 'sunday' THEN 1 WHEN 'saturday' THEN 2 ELSE 0 END AS week_shift
    FROM scenarios
    WHERE merchant_id = $merchant AND scenario = $scenario
),
days AS (
    SELECT CAST(day AS DATE) AS day
    FROM generate_series(
        CAST($since AS TIMESTAMP) - INTERVAL 1 DAY, CAST($until AS TIMESTAMP), INTERVAL 1 DAY) AS series(day)
),
of_dimension AS (
    SELECT customer_id
    FROM customers
    WHERE merchant_id = $merchant AND $dimension IS NOT NULL AND json_type(dimensions) = 'OBJECT'
        AND list_contains(map_entries(TRY_CAST(dimensions AS MAP(VARCHAR, VARCHAR))), {'key': $dimension, 'value': $value})
),
moves AS (
    SELECT day, currency, type, amount, product_id, price_id, plan_interval, country, cohort_month
    FROM mrr_daily
    WHERE merchant_id = $merchant AND scenario = $scenario AND day <= $until AND $dimension IS NULL
    UNION ALL
    SELECT day, currency, type, amount, product_id, price_id, plan_interval, country, cohort_month
    FROM mrr_movements
    WHERE merchant_id = $merchant AND scenario = $scenario AND day <= $until AND $dimension IS NOT NULL
        AND customer_id IN (SELECT customer_id FROM of_dimension)
),
moved AS (
    SELECT
        greatest(day, $since - 1) AS day, currency,
        CASE WHEN day < $since THEN 'before' ELSE type END AS type, sum(amount) AS amount
    FROM moves
    WHERE ($product IS NULL OR product_id = $product) AND ($price IS NULL OR price_id = $price)
        AND ($plan_interval IS NULL OR plan_interval = $plan_interval) AND ($country IS NULL OR country = $country)
        AND ($cohort IS NULL OR cohort_month = $cohort) AND ($of_currency IS NULL OR currency = $of_currency)
    GROUP BY ALL
),
balances AS (
    SELECT
        days.day, known.currency, 'balance' AS type,
        sum(coalesce(net.amount, 0)) OVER (PARTITION BY known.currency ORDER BY days.day) AS amount
    FROM days
    CROSS JOIN (SELECT DISTINCT currency FROM moved) AS known
    LEFT JOIN (SELECT day, currency, sum(amount) AS amount FROM moved GROUP BY day, currency) AS net
        ON net.day = days.day AND net.currency = known.currency
),
amounts AS (
    SELECT * FROM balances
    UNION ALL
    SELECT day, currency, type, amount FROM moved WHERE type <> 'before'
),
rated AS (
    SELECT
        amounts.day, amounts.type, amounts.currency, CAST(amounts.amount AS HUGEINT) AS amount,
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
    SELECT string_agg(DISTINCT currency, ', ' ORDER BY currency) AS currencies
    FROM rated
    WHERE up IS NULL OR down IS NULL
),
converted AS (
    SELECT
        day, type,
        CASE WHEN count(*) = count(up) AND count(*) = count(down)
            THEN CAST(sum(sign(amount) * ((2 * abs(amount) * up + down) // (2 * down))) AS BIGINT) END AS amount
    FROM rated
    GROUP BY day, type
),
per_day AS (
    SELECT
        days.day,
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
    LEFT JOIN converted ON converted.day = days.day
    GROUP BY days.day
),
with_fx AS (
    SELECT
        *,
        lag(mrr) OVER (ORDER BY day) AS mrr_before
    FROM per_day
),
slice_moments AS (
    SELECT customer_id, happened_at, min(day) AS day, sum(amount) AS amount
    FROM mrr_movements
    WHERE merchant_id = $merchant AND scenario = $scenario AND day <= $until
        AND ($product IS NOT NULL OR $price IS NOT NULL OR $plan_interval IS NOT NULL OR $of_currency IS NOT NULL)
        AND ($product IS NULL OR product_id = $product) AND ($price IS NULL OR price_id = $price)
        AND ($plan_interval IS NULL OR plan_interval = $plan_interval) AND ($country IS NULL OR country = $country)
        AND ($cohort IS NULL OR cohort_month = $cohort) AND ($of_currency IS NULL OR currency = $of_currency)
        AND ($dimension IS NULL OR customer_id IN (SELECT customer_id FROM of_dimension))
    GROUP BY customer_id, happened_at
    HAVING sum(amount) <> 0
),
slice_runs AS (
    SELECT
        *, sum(amount) OVER (PARTITION BY customer_id ORDER BY happened_at) AS after,
        row_number() OVER (PARTITION BY customer_id ORDER BY happened_at) AS nth
    FROM slice_moments
),
turns AS (
    SELECT
        day, CASE WHEN after = 0 THEN 'churn' WHEN nth = 1 THEN 'new' ELSE 'reactivation' END AS type, 1 AS customers
    FROM slice_runs
    WHERE after = 0 OR after = amount
    UNION ALL
    SELECT day, type, customers
    FROM subscribers_daily
    WHERE merchant_id = $merchant AND scenario = $scenario AND day <= $until
        AND $product IS NULL AND $price IS NULL AND $plan_interval IS NULL AND $of_currency IS NULL
        AND $dimension IS NULL
        AND ($country IS NULL OR country = $country) AND ($cohort IS NULL OR cohort_month = $cohort)
    UNION ALL
    SELECT
        CAST(timezone(known.time_zone, timezone('UTC', moments.happened_at)) AS DATE) AS day, moments.kind AS type,
        1 AS customers
    FROM customer_moments AS moments
    JOIN customer_cohorts AS known
        ON known.merchant_id = moments.merchant_id AND known.scenario = moments.scenario
        AND known.customer_id = moments.customer_id
    WHERE moments.merchant_id = $merchant AND moments.scenario = $scenario AND moments.kind <> 'change'
        AND $product IS NULL AND $price IS NULL AND $plan_interval IS NULL AND $of_currency IS NULL
        AND $dimension IS NOT NULL AND moments.customer_id IN (SELECT customer_id FROM of_dimension)
        AND CAST(timezone(known.time_zone, timezone('UTC', moments.happened_at)) AS DATE) <= $until
        AND ($country IS NULL OR known.country = $country) AND ($cohort IS NULL OR known.cohort_month = $cohort)
),
subscribers AS (
    SELECT
        greatest(day, $since - 1) AS day,
        sum(CASE type WHEN 'churn' THEN -customers ELSE customers END) AS net,
        coalesce(sum(customers) FILTER (WHERE type = 'new'), 0) AS new,
        coalesce(sum(customers) FILTER (WHERE type = 'reactivation'), 0) AS reactivated,
        coalesce(sum(customers) FILTER (WHERE type = 'churn'), 0) AS churned
    FROM turns
    GROUP BY 1
),
daily AS (
    SELECT
        with_fx.*,
        sum(coalesce(subscribers.net, 0)) OVER (ORDER BY with_fx.day) AS active,
        coalesce(subscribers.net, 0) AS net_subscribers,
        coalesce(subscribers.new, 0) AS new_subscribers,
        coalesce(subscribers.reactivated, 0) AS reactivated_subscribers,
        coalesce(subscribers.churned, 0) AS churned_subscribers
    FROM with_fx
    LEFT JOIN subscribers ON subscribers.day = with_fx.day
),
periods AS (
    SELECT
        CASE $period
            WHEN 'all' THEN $since
            WHEN 'week' THEN CAST(date_trunc('week', day + chosen.week_shift) AS DATE) - chosen.week_shift
            ELSE CAST(date_trunc(CASE WHEN $period = 'all' THEN 'year' ELSE $period END, day) AS DATE)
        END AS period,
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
    GROUP BY 1
)
SELECT
    periods.period, periods.first_day, periods.last_day, chosen.reporting_currency AS currency,
    CASE WHEN unknown = 0 THEN CAST(start_mrr AS BIGINT) END AS start_mrr,
    CASE WHEN unknown = 0 THEN CAST(new_mrr AS BIGINT) END AS new_mrr,
    CASE WHEN unknown = 0 THEN CAST(reactivation_mrr AS BIGINT) END AS reactivation_mrr,
    CASE WHEN unknown = 0 THEN CAST(expansion_mrr AS BIGINT) END AS expansion_mrr,
    CASE WHEN unknown = 0 THEN CAST(contraction_mrr AS BIGINT) END AS contraction_mrr,
    CASE WHEN unknown = 0 THEN CAST(churned_mrr AS BIGINT) END AS churned_mrr,
    CASE WHEN unknown = 0 THEN CAST(transfer_in_mrr AS BIGINT) END AS transfer_in_mrr,
    CASE WHEN unknown = 0 THEN CAST(transfer_out_mrr AS BIGINT) END AS transfer_out_mrr,
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
    (SELECT coalesce(strftime(set_at, 'set %Y-%m-%d %H:%M'), 'defaults') FROM scenarios
     WHERE merchant_id = $merchant AND scenario = $scenario) AS definition,
    CASE WHEN unknown > 0
        THEN 'no exchange rate between ' || lacking.currencies || ' and ' || chosen.reporting_currency END AS problem
FROM (SELECT *, CASE WHEN unknown = 0 THEN 1 END AS known FROM periods) AS periods
CROSS JOIN chosen
CROSS JOIN lacking
ORDER BY periods.period
