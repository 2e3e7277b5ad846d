-- What Stripe has told, by kind and by what became of it: `unknown` means no rows, `unread` could not be read.
SELECT merchant_id, type, object, outcome, count(*) AS events, max(created_at) AS last_created_at
FROM stripe_events
GROUP BY merchant_id, type, object, outcome
