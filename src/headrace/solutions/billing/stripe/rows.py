"""Rows on their way into tables, gathered from objects that lie in each other."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any, Literal

import headrace as hr

Row = dict[str, Any]
Verb = Literal["append", "upsert", "delete"]
HARDLY_KNOWN = -(2**62)
"""The `seq` of a merchant of whom only the name has been heard: whatever else is told counts more."""


def merchant_heard_of(merchant_id: str) -> Row:
    """Return the row that lets a merchant exist."""
    return {"merchant_id": merchant_id, "name": merchant_id, "seq": HARDLY_KNOWN}


class Gathered:
    """Rows by what is to happen to them, in the order in which they came."""

    def __init__(self) -> None:
        self._rows: dict[tuple[Verb, str], list[Row]] = defaultdict(list)

    def append(self, stream: str, row: Row) -> None:
        """Add an event."""
        self._rows["append", stream].append(row)

    def upsert(self, table: str, row: Row) -> None:
        """Add a row or version."""
        self._rows["upsert", table].append(row)

    def delete(self, table: str, key: Row) -> None:
        """Let a row go, after everything that is upserted."""
        self._rows["delete", table].append(key)

    def rows(self, verb: Verb, name: str) -> list[Row]:
        """Return the rows of one kind."""
        return self._rows.get((verb, name), [])

    def puts(self) -> Sequence[hr.Put]:
        """Return the changes, deletions last."""
        order = sorted(self._rows, key=lambda at: at[0] == "delete")
        return [hr.Put(verb, name, self._rows[verb, name]) for verb, name in order]
