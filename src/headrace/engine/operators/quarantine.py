"""Rows for which DuckDB answers with an error, kept aside until they are taken back.

A view is in error exactly while some row of its input makes an expression fail. Such rows are set aside with
their weights; all others go on, so the view's state stays right, and the view heals when the rows aside
cancel out.
"""

from __future__ import annotations

from headrace.change import Change
from headrace.engine.zset import consolidate


class Quarantine:
    """The sum of the failing rows."""

    def __init__(self) -> None:
        self._aside: Change | None = None
        self._message: str | None = None

    def put(self, change: Change, message: str) -> None:
        """Add failing rows; `message` is DuckDB's."""
        together = change if self._aside is None else Change.concat([self._aside, change])
        rest = consolidate(together)
        self._aside = rest if len(rest) else None
        self._message = message if self._aside is not None else None

    @property
    def error(self) -> str | None:
        """The message with the first failing row, or None when none is left."""
        if self._aside is None:
            return None
        row = self._aside.rows.slice(0, 1).to_pylist()[0]
        shown = ", ".join(f"{name} = {value!r}" for name, value in row.items())
        return f"{self._message} (row: {shown[:500]})"

    def __len__(self) -> int:
        return 0 if self._aside is None else len(self._aside)
