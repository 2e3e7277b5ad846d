"""Promotion monitoring: a shop's sale day, live. `headrace demo promotions` runs it; README.md defines it."""
