"""Digests of rows: 64-bit numbers that stand for a row's values in the indexes of event ids and tables.

The digests are keyed with a number drawn when the process starts, so nobody can prepare rows that collide,
and they are never written down. An id or key is told by 128 bits, a row's content by 64.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

Digests = npt.NDArray[np.uint64]

_FLOAT_BITS = {pa.float16(): pa.int16(), pa.float32(): pa.int32(), pa.float64(): pa.int64()}


class Hasher:
    """Digests rows under one secret."""

    def __init__(self, secret: int | None = None) -> None:
        self._secret = secrets.randbits(60) if secret is None else secret

    def rows(self, batch: pa.RecordBatch) -> RowDigests:
        """Prepare rows for digesting."""
        return RowDigests(batch, self._secret)


class RowDigests:
    """Digests of one batch of rows; the columns are converted once."""

    def __init__(self, batch: pa.RecordBatch, secret: int) -> None:
        self._batch = batch
        self._secret = secret
        self._frame: pl.DataFrame | None = None

    def keys(self, names: Sequence[str]) -> tuple[Digests, Digests]:
        """Return 128 bits a row of some columns, in two halves; what SQL calls equal (0.0, -0.0) is equal."""
        columns = [self._batch.column(name) for name in names]
        if any(column.type in _FLOAT_BITS for column in columns):
            frame = _frame([_plain(column) for column in columns])
        else:
            places = [str(self._batch.schema.get_field_index(name)) for name in names]
            frame = pl.DataFrame([self._whole().get_column(place) for place in places])
        return _hash(frame, self._secret), _hash(frame, self._secret + 1)

    def contents(self) -> Digests:
        """Return 64 bits a row; floats count by their bits, so -0.0 is not 0.0."""
        return _hash(self._whole(), self._secret + 2)

    def content_pairs(self) -> tuple[Digests, Digests]:
        """Return 128 bits a row, floats by their bits."""
        frame = self._whole()
        return _hash(frame, self._secret + 3), _hash(frame, self._secret + 4)

    def _whole(self) -> pl.DataFrame:
        if self._frame is None:
            self._frame = _frame([_bits(column) for column in self._batch.columns])
        return self._frame


def _hash(frame: pl.DataFrame, seed: int) -> Digests:
    digests: Digests = frame.hash_rows(seed).to_numpy()
    return digests


def _frame(columns: Sequence[pa.Array]) -> pl.DataFrame:
    table = pa.Table.from_arrays(list(columns), names=[str(at) for at in range(len(columns))])
    frame = pl.from_arrow(table)
    if not isinstance(frame, pl.DataFrame):
        raise TypeError("a table of columns expected")
    return frame


def _bits(column: pa.Array) -> pa.Array:
    bits = _FLOAT_BITS.get(column.type)
    return column.view(bits) if bits is not None else _plain(column)


def _plain(column: pa.Array) -> pa.Array:
    """Return a column that can be hashed, equal where the given one is equal."""
    kind = column.type
    if pa.types.is_dictionary(kind):
        return _plain(column.dictionary_decode())
    if pa.types.is_nested(kind) or pa.types.is_interval(kind):
        texts = [None if value is None else repr(value) for value in column.to_pylist()]
        return pa.array(texts, type=pa.large_string())
    return column


def repeats(hi: Digests, lo: Digests) -> npt.NDArray[np.int64] | None:
    """Return for each row the first row of the same digest, or None where all rows differ."""
    in_order = np.sort(hi)
    if not bool((in_order[1:] == in_order[:-1]).any()):
        return None
    order = np.lexsort((lo, hi))
    new = np.ones(len(hi), dtype=np.bool_)
    new[1:] = (hi[order][1:] != hi[order][:-1]) | (lo[order][1:] != lo[order][:-1])
    group = np.cumsum(new) - 1
    firsts = np.full(int(group[-1]) + 1, len(hi), dtype=np.int64)
    np.minimum.at(firsts, group, order)
    answer = np.empty(len(hi), dtype=np.int64)
    answer[order] = firsts[group]
    return answer
