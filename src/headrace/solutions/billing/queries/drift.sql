-- How much of a merchant's ledger was computed from scratch of late, and how far the views were off: must be 0.
-- $merchant TEXT: whose
SELECT
    coalesce(sum(customers), 0) AS ledgers,
    coalesce(sum(movements), 0) AS movements,
    coalesce(sum(drift_minor), 0) AS drift_minor,
    max(proved_at) AS proved_at
FROM proof_totals
WHERE merchant_id = $merchant
