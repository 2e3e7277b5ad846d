"""Stripe's objects as rows of the billing tables: webhook events as they come, and exported lists."""
