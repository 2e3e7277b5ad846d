-- MRR movements per local day and every attribute that a report may filter or group by.
--
-- Grain: one row per merchant, scenario, day, currency, product, price, plan interval, country, cohort month and type
-- on which something moved; the roll-forward of any slice is a sum of these, and MRR the sum since the beginning.
-- movements  number of rows of mrr_movements
SELECT
    merchant_id, scenario, day, currency, product_id, price_id, plan_interval, country, cohort_month, type,
    CAST(sum(amount) AS BIGINT) AS amount,
    count(*) AS movements
FROM mrr_movements
GROUP BY merchant_id, scenario, day, currency, product_id, price_id, plan_interval, country, cohort_month, type
