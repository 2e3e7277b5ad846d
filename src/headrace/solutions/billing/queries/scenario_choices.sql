-- The scenarios of a merchant, the one in force first.
-- $merchant TEXT: whose
SELECT scenario FROM scenarios WHERE merchant_id = $merchant ORDER BY scenario <> 'live', scenario
