"""Billing analytics: subscription metrics, live, by definitions that each merchant can change."""
