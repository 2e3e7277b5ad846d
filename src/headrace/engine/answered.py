"""What DuckDB has answered for an expression, by the values of the row that it was asked for.

Expressions are deterministic, so that an answer holds for every row with the same values: the tiers of a
price, the dimensions of a customer, a row that goes as it came. In a small step DuckDB's answer costs a
millisecond or two, and this one some microseconds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pyarrow as pa

ROWS_MAX = 16
"""Of larger batches nothing is remembered: there, a row's share of DuckDB's fixed cost is small."""
ANSWERS_MAX = 256
"""Answers that are kept for each expression."""
BYTES_MAX = 4_096
"""Longer rows and longer answers are not kept."""

Key = tuple[Any, ...]


class Answered:
    """Answers to one expression, for rows of few columns; the oldest go first.

    Args:
        kinds: types of the columns that it reads.
    """

    def __init__(self, kinds: Sequence[pa.DataType]) -> None:
        self._readers = [_reader(kind) for kind in kinds]
        self._known: dict[Key, pa.Array] = {}

    def keys(self, columns: Sequence[pa.Array], count: int) -> list[Key] | None:
        """Return what tells rows apart, or None where their values do not tell everything about them."""
        if count > ROWS_MAX or sum(column.nbytes for column in columns) > BYTES_MAX:
            return None
        told = []
        for reader, column in zip(self._readers, columns, strict=True):
            if reader is None:
                return None
            try:
                told.append(reader(column))
            except (ValueError, OverflowError):  # a nested time that Python has no date for
                return None
        return list(zip(*told, strict=True)) if told else [()] * count

    def find(self, keys: Sequence[Key]) -> pa.Array | None:
        """Return the answers for rows; None where one of them is not known."""
        found = [self._known.get(key) for key in keys]
        known = [one for one in found if one is not None]
        if len(known) < len(keys) or not known:
            return None
        return known[0] if len(known) == 1 else pa.concat_arrays(known)

    def keep(self, keys: Sequence[Key], answer: pa.Array) -> None:
        """Remember an answer, row by row."""
        if answer.nbytes > BYTES_MAX:
            return
        for at, key in enumerate(keys):
            if len(self._known) >= ANSWERS_MAX:
                self._known.pop(next(iter(self._known)))
            self._known[key] = answer.slice(at, 1)

    def __len__(self) -> int:
        return len(self._known)


def _reader(kind: pa.DataType) -> Callable[[pa.Array], list[Any]] | None:
    """Return how values of a type are told apart by all that an expression could tell them apart by; None:
    there is no way that is worth it.
    """
    if pa.types.is_timestamp(kind):
        return lambda column: list(column.view(pa.int64()).to_pylist())
    if pa.types.is_date32(kind):
        return lambda column: list(column.view(pa.int32()).to_pylist())
    if _is_exact(kind):
        return lambda column: list(column.to_pylist())
    return _written if _is_nested_exact(kind) else None


def _written(column: pa.Array) -> list[Any]:
    return [repr(value) for value in column.to_pylist()]


def _is_exact(kind: pa.DataType) -> bool:
    """Whether Python's values of a type are equal only where those of the type are the same: zeros of both
    signs are equal, but not the same.
    """
    return bool(
        pa.types.is_integer(kind)
        or pa.types.is_boolean(kind)
        or pa.types.is_string(kind)
        or pa.types.is_binary(kind)
        or pa.types.is_decimal(kind)
    )


def _is_nested_exact(kind: pa.DataType) -> bool:
    if pa.types.is_struct(kind):
        return all(_is_nested_exact(kind.field(at).type) for at in range(kind.num_fields))
    if pa.types.is_list(kind):
        return _is_nested_exact(kind.value_type)
    return _is_exact(kind) or kind == pa.timestamp("us") or bool(pa.types.is_date32(kind))
