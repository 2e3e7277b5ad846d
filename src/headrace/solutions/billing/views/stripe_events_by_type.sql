-- What Stripe has told, by kind and by what became of it: `unknown` means no rows, `unread` could not be read. An event
-- that was mapped again (stripe/again.py) counts by what became of it then.
SELECT
    events.merchant_id, events.type, events.object, coalesce(mappings.outcome, events.outcome) AS outcome,
    count(*) AS events, max(events.created_at) AS last_created_at
FROM stripe_events AS events
LEFT JOIN stripe_mappings AS mappings
    ON mappings.merchant_id = events.merchant_id AND mappings.event_id = events.event_id
GROUP BY ALL
