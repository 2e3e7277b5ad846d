-- The trials behind a number: each that started or ended between two days, newest first, and what became of it.
--
-- One row per start or end and item of the subscription at that moment.
-- $merchant TEXT: whose
-- $scenario TEXT = live IN (live, {scenario_choices}): by which settings
-- $since DATE BETWEEN 1970-01-01 AND 2099-12-31: first day
-- $until DATE BETWEEN 1970-01-01 AND 2099-12-31: last day
-- $event TEXT = NULL IN (started, ended, converted, paused, cancelled): what happened, or became of it
-- $rows INTEGER = 1000 BETWEEN 0 AND 10000000: how many
WITH trials AS {trial_rows}
SELECT
    turned_at, local_at, event, outcome, customer_id, name, country, subscription_id, price_id, product_id,
    plan_interval, currency,
    {definition} AS definition
FROM trials
WHERE CAST(local_at AS DATE) BETWEEN $since AND $until AND ($event IS NULL OR event = $event OR outcome = $event)
    AND {filtered}
    AND {listed}
ORDER BY turned_at DESC, subscription_id, price_id, event
LIMIT $rows
