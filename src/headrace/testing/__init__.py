"""Shipped to users: a settable clock, a list outlet, and the oracle that answers what a view must hold.

>>> from headrace.testing import ManualClock, Oracle, same_rows
"""

from headrace.testing.clock import ManualClock
from headrace.testing.compare import difference, same_rows
from headrace.testing.oracle import ExpectedError, Oracle
from headrace.testing.outlets import ListOutlet

__all__ = ["ExpectedError", "ListOutlet", "ManualClock", "Oracle", "difference", "same_rows"]
