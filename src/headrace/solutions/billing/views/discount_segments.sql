-- What discounts take off an item's monthly amount, in layers that a merchant may subtract or not; see mrr_parts.sql.
--
-- A discount applies to one item, to a subscription, or to all subscriptions of a customer that have none of their
-- own. Percentages come off one after the other (20 % and 10 % are 28 %), then amounts; an amount off is shared out
-- among a subscription's items by what they cost. Nothing falls below zero. A discount on one invoice (`once`) lowers
-- MRR for the one billing interval from its start. Shares and products are kept to 1e-12 of a minor unit.
--
-- Grain: one row per item, part and stretch of time in which the same discounts apply; amount is negative, a month,
-- in minor units (`both` may be positive).
WITH totals AS (
    SELECT merchant_id, subscription_id, discount_id, atom_since, CAST(sum(pico // 1000000) AS HUGEINT) AS micro
    FROM discount_atoms
    WHERE amount_off > 0
    GROUP BY merchant_id, subscription_id, discount_id, atom_since
),
amounts AS (
    SELECT
        discount_atoms.*,
        -- amount_off * 1e12 * share: in two steps of 1e6, so that large amounts have room
        CAST(discount_atoms.amount_off AS HUGEINT) * 1000000 * (discount_atoms.pico // 1000000) AS micro_off,
        nullif(totals.micro, 0) AS micro
    FROM discount_atoms
    LEFT JOIN totals
        ON totals.merchant_id = discount_atoms.merchant_id AND totals.subscription_id = discount_atoms.subscription_id
        AND totals.discount_id = discount_atoms.discount_id AND totals.atom_since = discount_atoms.atom_since
),
shares AS (
    SELECT *, coalesce(micro_off // micro * 1000000 + micro_off % micro * 1000000 // micro, 0) AS off_pico
    FROM amounts
),
folded AS (
    SELECT
        merchant_id, customer_id, subscription_id, item_id, price_id, currency, standing, leaving, paid,
        months_up, months_down, pico, gross, since, until, began_by, ended_by, atom_since, atom_until,
        count(*) FILTER (WHERE scope = 'own') AS own,
        list({'scope': scope, 'layer': layer, 'millionths': off_millionths, 'pico': off_pico}) AS discounts
    FROM shares
    GROUP BY
        merchant_id, customer_id, subscription_id, item_id, price_id, currency, standing, leaving, paid,
        months_up, months_down, pico, gross, since, until, began_by, ended_by, atom_since, atom_until
),
counted AS (
    SELECT
        *, list_filter(discounts, lambda one: own = 0 OR one.scope = 'own') AS counting
    FROM folded
),
-- What is left per interval when nothing, forever, and recurring and once discounts beside are subtracted.
left_over AS (
    SELECT
        *,
        list_transform(
            [['forever'], ['forever', 'recurring'], ['forever', 'once'], ['forever', 'recurring', 'once']],
            lambda chosen: greatest(0,
                pico * list_reduce(
                    list_transform(
                        list_filter(counting, lambda one: list_contains(chosen, one.layer)),
                        lambda one: CAST(1000000 - one.millionths AS HUGEINT)
                    ),
                    lambda product, factor: product * factor // 1000000,
                    CAST(1000000000000 AS HUGEINT)
                ) // 1000000000000
                - coalesce(list_sum(list_transform(
                    list_filter(counting, lambda one: list_contains(chosen, one.layer)), lambda one: one.pico
                )), 0)
            )
        ) AS picos
    FROM counted
),
monthly AS (
    SELECT
        *,
        list_transform(picos, lambda one:
            (2 * one * months_up + months_down * 1000000000000) // (2 * months_down * 1000000000000)) AS nets
    FROM left_over
),
layers AS (
    SELECT *, unnest([
        {'layer': 'forever', 'amount': nets[1] - gross},
        {'layer': 'recurring', 'amount': nets[2] - nets[1]},
        {'layer': 'once', 'amount': nets[3] - nets[1]},
        {'layer': 'both', 'amount': nets[4] - nets[3] - nets[2] + nets[1]}
    ]) AS taken
    FROM monthly
)
SELECT
    merchant_id, customer_id, subscription_id, item_id, price_id, currency, standing, leaving, paid,
    taken.layer AS layer,
    CAST(taken.amount AS BIGINT) AS amount,
    atom_since AS since,
    atom_until AS until,
    CASE WHEN atom_since = since THEN began_by ELSE 4096 END AS began_by,
    CASE WHEN atom_until = until THEN ended_by ELSE 4096 END AS ended_by
FROM layers
WHERE taken.amount <> 0
