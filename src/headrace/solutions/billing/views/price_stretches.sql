-- What a price is made of, and from when until when. Before its first version a price was what that version says.
--
-- Grain: one row per version of a price that makes MRR (metered prices make none).
-- months_up, months_down  an amount per interval, times months_up / months_down, is the amount per month:
--     day x 30, week x 52/12, n months / n, n years / (12 n)
-- began_by, ended_by      as in mrr_parts.sql
SELECT
    merchant_id,
    price_id,
    product_id,
    currency,
    scheme,
    tiers_mode,
    tiers,
    unit_amount,
    divide_by,
    round,
    interval,
    interval_count,
    CASE interval WHEN 'day' THEN 30 WHEN 'week' THEN 13 ELSE 1 END AS months_up,
    interval_count * CASE interval WHEN 'week' THEN 3 WHEN 'year' THEN 12 ELSE 1 END AS months_down,
    CASE WHEN before_from IS NULL THEN TIMESTAMP '0001-01-01' ELSE valid_from END AS since,
    coalesce(valid_to, TIMESTAMP '9999-12-31') AS until,
    CASE WHEN before_from IS NULL THEN 0 ELSE 1024 END AS began_by,
    CASE WHEN valid_to IS NULL THEN 0 ELSE 1024 END AS ended_by
FROM (
    SELECT *, lag(valid_from) OVER (PARTITION BY merchant_id, price_id ORDER BY valid_from) AS before_from
    FROM prices__history
    WHERE valid_to IS NULL OR valid_from < valid_to
) AS versions
WHERE usage_type = 'licensed'
