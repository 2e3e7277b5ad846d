"""TPC-H: the eight tables, small and seeded, their refresh streams, and the 22 queries as Headrace views.

The queries and their value domains follow the published specification (TPC-H, revision 3), with the
parameters of its validation run. The rows are our own: keys, dates and words are steered so that every query
answers some rows at a few hundred orders already, where the proportions of the specification would leave most
of them empty. Nothing measured on them is a TPC-H result.
"""

from headrace.testing.tpch.queries import QUERIES, query
from headrace.testing.tpch.refresh import Refresh
from headrace.testing.tpch.rows import TABLES, Rows, make_tables

__all__ = ["QUERIES", "TABLES", "Refresh", "Rows", "make_tables", "query"]
