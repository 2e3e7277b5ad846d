-- Discounted segments, cut where any discount of the subscription begins or ends, so that in each piece the same
-- discounts apply throughout.
--
-- Grain: one row per item, piece (atom_since, atom_until) and discount that applies in it; columns as discount_pairs.
WITH cuts AS (
    SELECT merchant_id, subscription_id, on_from AS cut_at FROM discount_pairs
    UNION
    SELECT merchant_id, subscription_id, on_until AS cut_at FROM discount_pairs
),
atoms AS (
    SELECT
        merchant_id, subscription_id, cut_at AS atom_since,
        lead(cut_at) OVER (PARTITION BY merchant_id, subscription_id ORDER BY cut_at) AS atom_until
    FROM cuts
)
SELECT discount_pairs.*, atoms.atom_since, atoms.atom_until
FROM discount_pairs
JOIN atoms
    ON atoms.merchant_id = discount_pairs.merchant_id AND atoms.subscription_id = discount_pairs.subscription_id
    AND discount_pairs.on_from <= atoms.atom_since AND atoms.atom_since < discount_pairs.on_until
