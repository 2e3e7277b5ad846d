"""Several changes in one commit, collected in a block."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headrace.intake import Call
from headrace.relations import Rows
from headrace.results import AppendResult

if TYPE_CHECKING:
    from headrace.ways_in import WaysIn


class Transaction:
    """Several changes, one commit: nothing is durable or seen before the block ends, and nothing if it fails.

    Attributes:
        results: the answers in the order of the calls, once the block has ended.
    """

    def __init__(self, run: WaysIn) -> None:
        self._run = run
        self.calls: list[Call] = []
        self.results: tuple[AppendResult, ...] = ()

    def append(self, stream: str, rows: Rows) -> None:
        """Add rows to a stream."""
        self.calls.append(self._run._call("append", stream, rows))

    def upsert(self, table: str, rows: Rows) -> None:
        """Insert or replace rows of a table by key; into a bag: add them."""
        self.calls.append(self._run._call("upsert", table, rows))

    def delete(self, table: str, rows: Rows) -> None:
        """Delete rows of a table by key; from a bag by whole row, one copy each."""
        self.calls.append(self._run._call("delete", table, rows))
