"""Kernels outside DuckDB, one family per file; each is tested to equal DuckDB on the corner values of its
types.

A kernel computes whole columns with NumPy and Arrow. Where a batch holds a value for which the two might
differ, or for which DuckDB would answer with an error, it raises `Miss`, and DuckDB computes that batch.
"""
