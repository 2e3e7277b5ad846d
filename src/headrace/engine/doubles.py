"""Numbers as doubles, as DuckDB casts them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from headrace.engine.columns import values

F64 = npt.NDArray[np.float64]


def as_doubles(column: pa.Array) -> F64:
    """Return a column of integers, decimals, booleans or floating-point numbers as doubles.

    What stands at NULL rows has no meaning.
    """
    if not pa.types.is_decimal(column.type):
        return values(column).astype(np.float64)
    low, high = decimal_words(column)
    scale = column.type.scale
    units = high.astype(np.longdouble) * np.longdouble(2.0**64) + low.view(np.uint64).astype(np.longdouble)
    return (units / np.longdouble(10**scale)).astype(np.float64)


def decimal_words(column: pa.Array) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return the low and the high words of decimals of up to 128 bits."""
    kind = column.type
    if kind.bit_width != 128:
        column = column.cast(pa.decimal128(kind.precision, kind.scale))
    data = column.buffers()[1]
    if data is None or len(column) == 0:
        nothing = np.zeros(len(column), dtype=np.int64)
        return nothing, nothing
    raw = np.frombuffer(data, dtype=np.int64)[2 * column.offset : 2 * (column.offset + len(column))]
    return raw[0::2], raw[1::2]
