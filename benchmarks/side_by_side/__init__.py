"""Nexmark on several engines over the same rows: what each side runs, and how results are compared."""
