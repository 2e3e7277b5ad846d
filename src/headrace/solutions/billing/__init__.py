"""Billing analytics: subscription metrics live, with definitions that each merchant can change. README.md says how."""
