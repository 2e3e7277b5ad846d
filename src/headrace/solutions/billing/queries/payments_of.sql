-- The payments, refunds and failed invoices behind a number, newest first, with the customer of each.
--
-- One row per payment, refund or invoice that failed, and line of its invoice where a product, price or interval is asked for.
-- kind    paid, failed, refunded; recovered or unrecovered: an invoice, on the day of its first failure
-- amount  in minor units, shared among the lines as payment_recovery.sql does
-- $merchant TEXT: whose
-- $scenario TEXT = live IN (live, {scenario_choices}): by which settings
-- $since DATE BETWEEN 1970-01-01 AND 2099-12-31: first day
-- $until DATE BETWEEN 1970-01-01 AND 2099-12-31: last day
-- $kind TEXT = NULL IN (paid, failed, refunded, recovered, unrecovered): of one kind only
-- $rows INTEGER = 1000 BETWEEN 0 AND 10000000: how many
WITH told AS {payment_rows(by => CASE WHEN $slice IS NOT NULL THEN $by END)}
SELECT
    local_at, kind, amount, currency, customer_id, name, country, invoice_id, payment_id, failure_code, price_id,
    product_id,
    {definition} AS definition
FROM told
WHERE CAST(local_at AS DATE) BETWEEN $since AND $until AND ($kind IS NULL OR kind = $kind)
    AND {filtered}
    AND {listed}
ORDER BY local_at DESC, payment_id, kind, price_id
LIMIT $rows
