-- How much of the ledger has been computed from scratch (prove.py), and by how much the views differed.
--
-- Grain: one row per merchant, over the last proof of each customer, and of the whole (`*`), under each scenario.
-- drift_minor  sum of all differences in minor units, without their signs: must be 0
SELECT
    merchant_id,
    count(DISTINCT nullif(customer_id, '*')) AS customers,
    CAST(sum(movements) AS BIGINT) AS movements,
    CAST(sum(differences) AS BIGINT) AS differences,
    CAST(sum(drift_minor) AS BIGINT) AS drift_minor,
    max(proved_at) AS proved_at
FROM proofs
GROUP BY merchant_id
