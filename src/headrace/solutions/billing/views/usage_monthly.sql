-- Usage and what it is worth, per customer, metered price and local month: price x usage, before tax and discounts.
-- It is no part of MRR.
--
-- The price is that of the item which the customer had for the meter when the quarter of an hour began; tiers count
-- over the month. A price names its meter by the name of its events, or by an id of the table `meters`. Usage without a priced item is in usage_daily.sql alone.
-- Grain: one row per merchant, scenario, month, customer, meter, item and price.
-- amount  in minor units, rounded half away from zero; 1e15 at most, for 1e12 units at most: usage that cannot be meant
--         must leave room for the sums of all other
WITH metered AS (
    SELECT
        items.merchant_id, standings.customer_id, coalesce(meters.event_name, prices.meter) AS meter, items.item_id, items.price_id, prices.product_id,
        prices.currency, prices.scheme, prices.tiers_mode, prices.unit_amount, prices.tiers,
        greatest(items.since, standings.since) AS since, least(items.until, standings.until) AS until
    FROM item_stretches AS items
    JOIN subscription_stretches AS standings
        ON standings.merchant_id = items.merchant_id AND standings.subscription_id = items.subscription_id
        AND standings.since < items.until AND items.since < standings.until
    JOIN prices
        ON prices.merchant_id = items.merchant_id AND prices.price_id = items.price_id
    LEFT JOIN meters
        ON meters.merchant_id = prices.merchant_id AND meters.meter_id = prices.meter
    WHERE prices.usage_type = 'metered' AND standings.standing IN ('trialing', 'active', 'past_due', 'unpaid')
),
used AS (
    SELECT
        metered.merchant_id, scenarios.scenario,
        CAST(date_trunc('month', timezone(scenarios.time_zone, timezone('UTC', quarters.quarter))) AS DATE) AS month,
        metered.customer_id, metered.meter, metered.item_id, metered.price_id, metered.product_id, metered.currency,
        metered.scheme, metered.tiers_mode, metered.unit_amount, metered.tiers,
        CAST(sum(quarters.units) AS DECIMAL(24, 6)) AS units
    FROM usage_quarters AS quarters
    JOIN metered
        ON metered.merchant_id = quarters.merchant_id AND metered.customer_id = quarters.customer_id
        AND metered.meter = quarters.meter
        AND metered.since <= quarters.quarter AND quarters.quarter < metered.until
    JOIN scenarios ON scenarios.merchant_id = quarters.merchant_id
    GROUP BY ALL
),
tiered AS (
    SELECT
        *, greatest(-1000000000000, least(1000000000000, units)) AS counted,
        json_transform(tiers,
            '[{"up_to": "BIGINT", "unit_amount": "DECIMAL(24,12)", "flat_amount": "DECIMAL(24,12)"}]') AS steps
    FROM used
),
-- In 1e-12 minor units: prices are told to 1e-8 of one, and units to 1e-4.
priced AS (
    SELECT
        merchant_id, scenario, month, customer_id, meter, item_id, price_id, product_id, currency, units,
        CASE
            WHEN scheme <> 'tiered' THEN
                CAST(unit_amount * 100000000 AS HUGEINT) * CAST(counted * 10000 AS HUGEINT)
            WHEN tiers_mode = 'volume' THEN list_sum(list_transform(
                list_filter(steps, lambda step: step.up_to IS NULL OR counted <= step.up_to)[1:1],
                lambda step: CAST(coalesce(step.unit_amount, 0) * 100000000 AS HUGEINT) * CAST(counted * 10000 AS HUGEINT)
                    + CAST(coalesce(step.flat_amount, 0) * 1000000000000 AS HUGEINT)
            ))
            ELSE list_sum(list_transform(
                list_filter(
                    list_transform(steps, lambda step, nth: {
                        'above': CASE WHEN nth > 1 THEN steps[nth - 1].up_to ELSE 0 END,
                        'up_to': step.up_to, 'unit': step.unit_amount, 'flat': step.flat_amount
                    }),
                    lambda step: counted > step.above
                ),
                lambda step: CAST(coalesce(step.unit, 0) * 100000000 AS HUGEINT)
                    * CAST((least(counted, coalesce(step.up_to, counted)) - step.above) * 10000 AS HUGEINT)
                    + CAST(coalesce(step.flat, 0) * 1000000000000 AS HUGEINT)
            ))
        END AS pico
    FROM tiered
)
SELECT
    merchant_id, scenario, month, customer_id, meter, item_id, price_id, product_id, currency, units,
    CAST(sign(pico) * least(1000000000000000, (2 * abs(pico) + 1000000000000) // 2000000000000) AS BIGINT) AS amount
FROM priced
