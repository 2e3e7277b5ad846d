"""Rows for which DuckDB answers with an error, kept aside until they are taken back.

A view is in error exactly while some row of its input makes an expression fail. Such rows are set aside with
their weights; all others go on, so the view's state stays right, and the view heals when the rows aside
cancel out.
"""

from __future__ import annotations

import pyarrow as pa

from headrace.change import Change
from headrace.engine.zset import consolidate

SHOWN_CHARACTERS = 500


def shown_row(rows: pa.RecordBatch, at: int) -> str:
    """Return one row as text for a message, cut where it is long."""
    named = zip(rows.schema.names, rows.columns, strict=True)
    return ", ".join(f"{name} = {_shown(column[at])}" for name, column in named)[:SHOWN_CHARACTERS]


def _shown(value: pa.Scalar) -> str:
    """Return a value as Python writes it, and times that Python has not as Arrow does."""
    try:
        return repr(value.as_py())
    except (OverflowError, ValueError):
        return str(getattr(value, "value", value.type))


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
        return f"{self._message} (row: {shown_row(self._aside.rows, 0)})"

    def __len__(self) -> int:
        return 0 if self._aside is None else len(self._aside)
