-- Every subscription that began with a trial, one row each: when the trial began and when it ends or ended.
SELECT merchant_id, subscription_id, customer_id, trial_start, trial_end
FROM subscriptions
WHERE trial_start IS NOT NULL
