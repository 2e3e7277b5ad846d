-- What a number of units costs at a price, for every pair of price and quantity that any item has or had, so that
-- tiers and fractions are worked out once for all who share them.
--
-- A price per package (divide_by units) counts whole packages, rounded up or down. What would be more than 1e14 minor
-- units an interval counts as so much: an item that cannot be meant must leave room for the sums of all others.
--
-- Grain: one row per price, quantity and version of the price.
-- pico    per interval, before discounts, in 1e-12 minor units
-- gross   per month, in minor units, rounded half away from zero
-- months_up, months_down, since, until, began_by, ended_by  as in price_stretches.sql
WITH wanted AS (
    SELECT DISTINCT merchant_id, price_id, quantity FROM item_stretches
),
costed AS (
    SELECT
        wanted.quantity,
        prices.*
    FROM wanted
    JOIN price_stretches AS prices
        ON prices.merchant_id = wanted.merchant_id AND prices.price_id = wanted.price_id
),
tiered AS (
    SELECT
        *,
        json_transform(tiers,
            '[{"up_to": "BIGINT", "unit_amount": "DECIMAL(24,12)", "flat_amount": "DECIMAL(24,12)"}]') AS steps
    FROM costed
    WHERE scheme = 'tiered'
),
priced AS (
    SELECT
        merchant_id, price_id, quantity, currency, interval, interval_count, months_up, months_down,
        since, until, began_by, ended_by,
        coalesce(CAST(unit_amount * 1000000000000 AS HUGEINT) * CASE
            WHEN scheme = 'flat' THEN 1
            WHEN divide_by IS NULL THEN quantity
            WHEN round = 'down' THEN quantity // divide_by
            ELSE (quantity + divide_by - 1) // divide_by
        END, 0) AS pico
    FROM costed
    WHERE scheme <> 'tiered'
    UNION ALL
    SELECT
        merchant_id, price_id, quantity, currency, interval, interval_count, months_up, months_down,
        since, until, began_by, ended_by,
        coalesce(CASE
            WHEN tiers_mode = 'volume' THEN list_sum(list_transform(
                list_filter(steps, lambda step: step.up_to IS NULL OR quantity <= step.up_to)[1:1],
                lambda step: CAST(coalesce(step.unit_amount, 0) * 1000000000000 AS HUGEINT) * quantity
                    + CAST(coalesce(step.flat_amount, 0) * 1000000000000 AS HUGEINT)
            ))
            ELSE list_sum(list_transform(
                list_filter(
                    list_transform(steps, lambda step, nth: {
                        'above': CASE WHEN nth > 1 THEN steps[nth - 1].up_to ELSE 0 END,
                        'up_to': step.up_to,
                        'unit': CAST(coalesce(step.unit_amount, 0) * 1000000000000 AS HUGEINT),
                        'flat': CAST(coalesce(step.flat_amount, 0) * 1000000000000 AS HUGEINT)
                    }),
                    lambda step: quantity > step.above
                ),
                lambda step: (least(quantity, coalesce(step.up_to, quantity)) - step.above) * step.unit + step.flat
            ))
        END, 0) AS pico
    FROM tiered
),
cut AS (
    SELECT
        * EXCLUDE (pico),
        least(100000000000000000000000000, greatest(-100000000000000000000000000, pico)) AS pico
    FROM priced
)
SELECT
    merchant_id, price_id, quantity, currency, interval, interval_count, months_up, months_down, pico,
    CAST((2 * pico * months_up + months_down * 1000000000000) // (2 * months_down * 1000000000000) AS BIGINT) AS gross,
    since, until, began_by, ended_by
FROM cut
