-- Usage per customer, meter and quarter of an hour (UTC): no time zone's day begins within a quarter, so days are
-- sums of quarters whatever the zone.
--
-- Grain: one row per merchant, customer, meter and quarter. units is what was used, events how many rows told it.
SELECT
    merchant_id, customer_id, meter, time_bucket(INTERVAL 15 MINUTE, used_at) AS quarter,
    sum(value) AS units, count(*) AS events
FROM meter_events
GROUP BY merchant_id, customer_id, meter, time_bucket(INTERVAL 15 MINUTE, used_at)
