-- Usage per meter and day, from the first day to the last; 0 on days without any.
--
-- Usage is of the product, price, interval and currency of the metered item that the customer had then; of none, where it
-- had none.
-- $merchant TEXT: whose
-- $scenario TEXT = live IN (live, {scenario_choices}): by which settings
-- $since DATE BETWEEN 1970-01-01 AND 2099-12-31: first day
-- $until DATE BETWEEN 1970-01-01 AND 2099-12-31: last day
-- $meter TEXT = NULL: one meter only
WITH people AS (
    SELECT * FROM {people} AS people WHERE NOT {plain}
),
goods AS {goods},
metered AS (
    SELECT
        standings.customer_id, coalesce(meters.event_name, prices.meter) AS meter, items.price_id, goods.product_id,
        goods.plan_interval, goods.currency,
        greatest(items.since, standings.since) AS since, least(items.until, standings.until) AS until
    FROM item_stretches AS items
    JOIN subscription_stretches AS standings
        ON standings.merchant_id = items.merchant_id AND standings.subscription_id = items.subscription_id
        AND standings.since < items.until AND items.since < standings.until
    JOIN prices ON prices.merchant_id = items.merchant_id AND prices.price_id = items.price_id
    JOIN goods ON goods.price_id = items.price_id
    LEFT JOIN meters ON meters.merchant_id = prices.merchant_id AND meters.meter_id = prices.meter
    WHERE items.merchant_id = $merchant AND prices.usage_type = 'metered'
        AND standings.standing IN ('trialing', 'active', 'past_due', 'unpaid') AND {by_item}
),
told AS (
    SELECT
        CAST(timezone(scenarios.time_zone, timezone('UTC', quarters.quarter)) AS DATE) AS day, quarters.meter,
        quarters.units, quarters.events, metered.price_id, metered.product_id, metered.plan_interval, metered.currency,
        people.country, people.cohort_month, people.named
    FROM usage_quarters AS quarters
    JOIN scenarios ON scenarios.merchant_id = $merchant AND scenarios.scenario = $scenario
    LEFT JOIN people ON people.customer_id = quarters.customer_id
    LEFT JOIN metered
        ON metered.customer_id = quarters.customer_id AND metered.meter = quarters.meter
        AND metered.since <= quarters.quarter AND quarters.quarter < metered.until
    WHERE quarters.merchant_id = $merchant AND NOT {plain}
        AND quarters.quarter BETWEEN CAST($since AS TIMESTAMP) - INTERVAL 1 DAY
            AND CAST($until AS TIMESTAMP) + INTERVAL 2 DAY
),
used AS (
    SELECT
        {sliced} AS slice,
        day, meter, sum(units) AS units, CAST(sum(events) AS BIGINT) AS events
    FROM told
    WHERE day BETWEEN $since AND $until AND ($meter IS NULL OR meter = $meter)
        AND {filtered}
    GROUP BY slice, day, meter
    UNION ALL
    SELECT NULL AS slice, day, meter, units, events
    FROM usage_daily
    WHERE merchant_id = $merchant AND scenario = $scenario AND day BETWEEN $since AND $until
        AND ($meter IS NULL OR meter = $meter) AND {plain}
)
SELECT
    CAST(days.day AS DATE) AS day, meters.meter, coalesce(used.units, 0) AS units, coalesce(used.events, 0) AS events,
    {definition} AS definition,
    meters.slice, CASE WHEN $by IS NOT NULL THEN coalesce(meters.slice, '(none)') END AS part,
    meters.meter || CASE WHEN $by IS NOT NULL THEN ', ' || coalesce(meters.slice, '(none)') ELSE '' END AS name
FROM generate_series(CAST($since AS TIMESTAMP), CAST($until AS TIMESTAMP), INTERVAL 1 DAY) AS days(day)
CROSS JOIN (SELECT DISTINCT slice, meter FROM used) AS meters
LEFT JOIN used
    ON used.day = CAST(days.day AS DATE) AND used.meter = meters.meter AND used.slice IS NOT DISTINCT FROM meters.slice
ORDER BY days.day, meters.meter, meters.slice
