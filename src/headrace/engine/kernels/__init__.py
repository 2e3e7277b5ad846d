"""Kernels outside DuckDB, one family per file; each is tested to equal DuckDB on the corner values of its
types.
"""
