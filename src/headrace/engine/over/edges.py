"""Where a bound of a RANGE frame leaves the type of its order column.

    sum(y) OVER (ORDER BY x RANGE BETWEEN 1 PRECEDING AND CURRENT ROW)

Over an unsigned x that is 0 there is no `x - 1`: DuckDB answers with an error, and so the view is in error.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from headrace.errors import ViewInError
from headrace.sql.plan import Frame


class Edges:
    """The least and greatest integers of an order column that some frames leave room around.

    Args:
        kind: the type of the order column; others than integers have no edges.
        frames: those of the calls.
    """

    def __init__(self, kind: pa.DataType, frames: Iterable[Frame | None]) -> None:
        ranges = [frame for frame in frames if frame is not None and frame.unit == "range"]
        offsets = {offset for frame in ranges for offset in (frame.start, frame.end) if offset}
        self._kind = kind
        self._offsets = sorted(offsets) if pa.types.is_integer(kind) else []

    def check(self, column: pa.Array) -> None:
        """Raise where a bound of some row's frame is beyond the type.

        Raises:
            ViewInError: in the words of DuckDB.
        """
        if not self._offsets or column.null_count == len(column):
            return
        limits = np.iinfo(self._kind.to_pandas_dtype())
        ends = pc.min_max(column)
        low, high = int(ends["min"].as_py()), int(ends["max"].as_py())
        for offset in self._offsets:
            value = low if offset < 0 else high
            if not limits.min <= value + offset <= limits.max:
                raise ViewInError(
                    self._overflow(value, offset), hint="remove the row that causes it, or replace the view"
                )

    def _overflow(self, value: int, offset: int) -> str:
        word, sign = ("addition", "+") if offset > 0 else ("subtraction", "-")
        kind = str(self._kind).upper()
        return f"Out of Range Error: Overflow in {word} of {kind} ({value} {sign} {abs(offset)})!"
