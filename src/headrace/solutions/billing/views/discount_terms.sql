-- Discounts with what they take off: their own terms, or where they have none, those of their coupon.
--
-- Grain: one row per discount. ends_at is worked out where only the coupon's number of months is known.
SELECT
    discounts.merchant_id,
    discounts.discount_id,
    discounts.customer_id,
    discounts.subscription_id,
    discounts.item_id,
    discounts.starts_at,
    CASE WHEN discounts.percent_off IS NULL AND discounts.amount_off IS NULL AND coupons.duration IS NOT NULL
        THEN coupons.duration ELSE discounts.duration END AS duration,
    CASE WHEN discounts.amount_off IS NULL THEN coalesce(discounts.percent_off, coupons.percent_off)
        ELSE discounts.percent_off END AS percent_off,
    CASE WHEN discounts.percent_off IS NULL THEN coalesce(discounts.amount_off, coupons.amount_off)
        ELSE discounts.amount_off END AS amount_off,
    CASE WHEN discounts.percent_off IS NULL AND discounts.amount_off IS NULL
        THEN coalesce(discounts.currency, coupons.currency) ELSE discounts.currency END AS currency,
    coalesce(discounts.ends_at, CASE
        WHEN discounts.percent_off IS NULL AND discounts.amount_off IS NULL AND coupons.duration = 'repeating'
            THEN discounts.starts_at + to_months(CAST(coupons.duration_in_months AS INTEGER))
    END) AS ends_at
FROM discounts
LEFT JOIN coupons ON coupons.merchant_id = discounts.merchant_id AND coupons.coupon_id = discounts.coupon_id
