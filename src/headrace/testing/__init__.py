"""Shipped to users: a settable clock, a list outlet, an oracle of what a view must hold, conformance cases.

>>> from headrace.testing import ManualClock, Oracle, same_rows
"""

from headrace.testing.cases import Block, Case, parse_cases, read_cases
from headrace.testing.clock import ManualClock
from headrace.testing.compare import difference, same_rows
from headrace.testing.crash import CrashOnCue
from headrace.testing.keyvalue import KeyFolder
from headrace.testing.oracle import ExpectedError, Oracle
from headrace.testing.outlets import ListOutlet
from headrace.testing.play import MismatchError, Runner, embedded, play

__all__ = [
    "Block",
    "Case",
    "CrashOnCue",
    "ExpectedError",
    "KeyFolder",
    "ListOutlet",
    "ManualClock",
    "MismatchError",
    "Oracle",
    "Runner",
    "difference",
    "embedded",
    "parse_cases",
    "play",
    "read_cases",
    "same_rows",
]
