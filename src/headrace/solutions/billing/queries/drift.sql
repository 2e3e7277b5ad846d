-- How much of a merchant's ledger was computed from scratch of late, and how far the views were off: must be 0. Where
-- nothing was proved, there is nothing to tell: the drift is NULL.
-- $merchant TEXT: whose
SELECT
    coalesce(sum(customers), 0) AS ledgers,
    coalesce(sum(movements), 0) AS movements,
    CAST(sum(drift_minor) AS BIGINT) AS drift_minor,
    max(proved_at) AS proved_at,
    CASE WHEN count(*) = 0 THEN 'nothing proved yet: python -m headrace.solutions.billing.prove ADDRESS' END AS problem
FROM proof_totals
WHERE merchant_id = $merchant
