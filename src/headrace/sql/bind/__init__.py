"""Query trees to plan nodes: names resolved, types asked from DuckDB, the rest put into `Recompute`."""
