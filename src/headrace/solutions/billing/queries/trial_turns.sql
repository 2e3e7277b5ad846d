-- The trials behind a number: each that started or ended between two days, newest first, and what became of it.
--
-- One row per start or end and item of the subscription at that moment.
-- $merchant TEXT: whose
-- $scenario TEXT = live: by which settings
-- $since DATE: first day
-- $until DATE: last day
-- $event TEXT = NULL: started, ended, converted, paused or cancelled only
-- $rows INTEGER = 1000: how many
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
