-- Which parts of the ledger (mrr_parts.sql) a scenario adds up. This is all that the settings about discounts, first
-- payment, churn and past-due subscriptions do: they choose parts, and compute nothing.
--
-- Grain: one row per merchant, scenario and part.
SELECT
    scenarios.merchant_id,
    scenarios.scenario,
    standings.standing,
    standings.leaving,
    standings.paid,
    layers.layer
FROM scenarios
CROSS JOIN (VALUES
    ('active', FALSE, FALSE), ('active', FALSE, TRUE), ('active', TRUE, FALSE), ('active', TRUE, TRUE),
    ('past_due', FALSE, FALSE), ('past_due', FALSE, TRUE), ('past_due', TRUE, FALSE), ('past_due', TRUE, TRUE)
) AS standings(standing, leaving, paid)
CROSS JOIN (VALUES ('gross'), ('forever'), ('recurring'), ('once'), ('both')) AS layers(layer)
WHERE (standings.standing = 'active' OR scenarios.count_past_due)
    AND (NOT standings.leaving OR scenarios.churn_at = 'period_end')
    AND (standings.paid OR scenarios.active_from = 'start')
    AND CASE layers.layer
        WHEN 'recurring' THEN scenarios.subtract_recurring_discounts
        WHEN 'once' THEN scenarios.subtract_once_discounts
        WHEN 'both' THEN scenarios.subtract_recurring_discounts AND scenarios.subtract_once_discounts
        ELSE TRUE
    END
