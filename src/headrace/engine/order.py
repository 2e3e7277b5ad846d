"""Columns as uint64 words that sort as DuckDB sorts: NaN greatest, −0.0 equal to 0.0, text by bytes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from headrace.contracts.schema import Column
from headrace.engine.columns import I64, U64, is_fixed, nonzero, ordered_items, validity, values, view
from headrace.engine.doubles import decimal_words
from headrace.sql.plan import OrderKey

_SIGN = np.uint64(1 << 63)
_ALL = np.uint64(2**64 - 1)


def is_exact(kind: pa.DataType) -> bool:
    """Whether `order_word` tells all values of this type apart, so that it can be turned back."""
    if pa.types.is_decimal(kind):
        return bool(kind.precision <= 18)
    return bool(
        pa.types.is_integer(kind)
        or pa.types.is_floating(kind)
        or pa.types.is_boolean(kind)
        or pa.types.is_date(kind)
        or pa.types.is_timestamp(kind)
        or (pa.types.is_time(kind))
    )


def is_sortable(column: Column) -> bool:
    """Whether Arrow's values of a column have DuckDB's order: not so enumerations, bits, unions."""
    kind = column.arrow
    if pa.types.is_dictionary(kind) or pa.types.is_union(kind) or isinstance(kind, pa.BaseExtensionType):
        return False
    return not pa.types.is_nested(kind) and column.sql_type not in ("BIT", "TIME WITH TIME ZONE", "GEOMETRY")


def order_word(array: pa.Array) -> U64:
    """Return one word per row in value order, ascending; equal words may hide a difference unless
    `is_exact`.
    """
    kind = array.type
    if pa.types.is_floating(kind):
        return _float_order(values(array).astype(np.float64))
    if pa.types.is_decimal(kind):
        return _decimal_order(array)
    if pa.types.is_uint64(kind):
        unsigned: U64 = values(array).astype(np.uint64, copy=True)
        return unsigned
    if is_exact(kind):
        return values(array).astype(np.int64).view(np.uint64) ^ _SIGN
    if is_fixed(kind):
        return np.zeros(len(array), dtype=np.uint64)
    if pa.types.is_nested(kind):
        return np.zeros(len(array), dtype=np.uint64)
    text = view(array, exact=True)
    return text.word(0, slice(None)).byteswap()  # type: ignore[union-attr]


def value_of(words: U64, kind: pa.DataType, known: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> pa.Array:
    """Return the values that `order_word` made the words of, NULL where not `known`; exact types only."""
    if pa.types.is_floating(kind):
        bits = np.where(words & _SIGN, words ^ _SIGN, ~words)
        return pa.array(bits.view(np.float64), mask=~known).cast(kind)
    if pa.types.is_uint64(kind):
        return pa.array(words, mask=~known)
    numbers = (words ^ _SIGN).view(np.int64)
    if pa.types.is_decimal(kind):
        from headrace.engine.aggregates.linear import decimal_array

        return decimal_array(numbers.view(np.uint64), numbers >> 63, kind, known)
    plain = pa.array(np.where(known, numbers, 0), mask=~known)
    if pa.types.is_boolean(kind):
        return plain.cast(pa.bool_())
    if pa.types.is_temporal(kind) and kind.bit_width == 32:
        return plain.cast(pa.int32()).cast(kind)
    return plain.view(kind) if pa.types.is_timestamp(kind) else plain.cast(kind)


def _float_order(numbers: np.ndarray[tuple[int], np.dtype[np.float64]]) -> U64:
    bits = (numbers + 0.0).view(np.uint64)
    bits = np.where(np.isnan(numbers), np.uint64(0x7FF8000000000000), bits)
    return np.where(bits & _SIGN, ~bits, bits | _SIGN)


def _decimal_order(array: pa.Array) -> U64:
    if array.type.bit_width != 128:
        array = array.cast(pa.decimal128(array.type.precision, array.type.scale))
    data = array.buffers()[1]
    if data is None or len(array) == 0:
        return np.zeros(len(array), dtype=np.uint64)
    pairs = np.frombuffer(data, dtype=np.int64)[2 * array.offset : 2 * (array.offset + len(array))].reshape(
        -1, 2
    )
    low, high = pairs[:, 0], pairs[:, 1]
    if array.type.precision <= 18:
        return low.copy().view(np.uint64) ^ _SIGN
    fits = high == low >> 63
    clipped = np.where(fits, low, np.where(high < 0, np.iinfo(np.int64).min, np.iinfo(np.int64).max))
    return clipped.view(np.uint64) ^ _SIGN


def placed(words: U64, valid: np.ndarray[tuple[int], np.dtype[np.bool_]] | None, key: OrderKey) -> U64:
    """Return ascending words as the order key wants them: turned round when descending, NULLs at their
    end.
    """
    turned = ~words if key.descending else words
    if valid is None:
        return turned
    return np.where(valid, turned, np.uint64(0) if key.nulls_first else _ALL)


def is_apart(kind: pa.DataType) -> bool:
    """Whether `placed` words tell all values of this type apart, and from NULL: the greatest and the least
    64-bit integer have the words in which NULLs stand.
    """
    is_whole = pa.types.is_int64(kind) or pa.types.is_uint64(kind) or pa.types.is_timestamp(kind)
    return is_exact(kind) and not (is_whole or pa.types.is_time64(kind))


def sort_columns(array: pa.Array, key: OrderKey) -> list[U64]:
    """Return words, most significant first, that order a column exactly as the key says."""
    valid = validity(array)
    words = order_word(array) if is_exact(array.type) else _ranks(array)
    columns = [] if valid is None else [np.where(valid, np.uint64(1), np.uint64(0 if key.nulls_first else 2))]
    turned = ~words if key.descending else words
    return [*columns, turned if valid is None else np.where(valid, turned, np.uint64(0))]


def _ranks(array: pa.Array) -> U64:
    """Return dense ranks of values of any sortable type."""
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    if pa.types.is_nested(array.type) or array.type == pa.month_day_nano_interval():
        return _slow_ranks(array)
    if pa.types.is_null(array.type):
        return np.zeros(len(array), dtype=np.uint64)
    if pa.types.is_decimal128(array.type) and not array.null_count:
        low, high = decimal_words(array)
        if (high == low >> 63).all():
            return low.view(np.uint64) ^ _SIGN
    if pa.types.is_string(array.type) or pa.types.is_large_string(array.type):
        array = array.cast(pa.large_binary())
    encoded = array.dictionary_encode()
    order = pc.sort_indices(encoded.dictionary).to_numpy()
    ranks = np.empty(len(order) + 1, dtype=np.uint64)
    ranks[order] = np.arange(len(order), dtype=np.uint64)
    ranks[-1] = 0
    ranked: U64 = ranks[pc.fill_null(encoded.indices, -1).to_numpy(zero_copy_only=False)]
    return ranked


def _slow_ranks(array: pa.Array) -> U64:
    from functools import cmp_to_key

    items: Any = ordered_items(array)
    order = sorted(range(len(items)), key=cmp_to_key(lambda a, b: _compare(items[a], items[b])))
    ranks = np.zeros(len(items), dtype=np.uint64)
    rank = 0
    for before, at in zip([order[0] if order else 0, *order], order, strict=False):
        rank += int(_compare(items[before], items[at]) != 0)
        ranks[at] = rank
    return ranks


def _compare(one: object, other: object) -> int:
    """Compare nested values as DuckDB does: element by element, NULL greatest, shorter first."""
    if one is None or other is None:
        return (one is None) - (other is None)
    if isinstance(one, dict) and isinstance(other, dict):
        one, other = list(one.values()), list(other.values())
    if (
        isinstance(one, list | tuple)
        and isinstance(other, list | tuple)
        and type(one).__name__ != "MonthDayNano"
    ):
        for left, right in zip(one, other, strict=False):
            found = _compare(left, right)
            if found:
                return found
        return (len(one) > len(other)) - (len(one) < len(other))
    if isinstance(one, float) and isinstance(other, float) and (one != one or other != other):
        return int(one != one) - int(other != other)
    left_key, right_key = _length(one), _length(other)
    return int(left_key > right_key) - int(left_key < right_key)  # type: ignore[operator]


def _length(item: object) -> object:
    """Return an interval as (days, nanoseconds) normalised; anything else as it is."""
    if not isinstance(item, pa.MonthDayNano):
        return item
    months, days, nanos = item[0], item[1], item[2]
    return months * 30 + days + nanos // 86_400_000_000_000, nanos % 86_400_000_000_000


def lexsort(groups: I64, arrays: Sequence[tuple[pa.Array, OrderKey]]) -> I64:
    """Return the order of rows by group, then by the order keys, stable.

    The second key and those after it are looked at for rows alone that tie in what comes before.
    """
    words = sort_columns(*arrays[0]) if arrays else []
    order = np.lexsort([*reversed(words), groups])
    if len(arrays) < 2 or len(order) < 2:
        return order
    tied = groups[order[1:]] == groups[order[:-1]]
    for word in words:
        tied &= word[order[1:]] == word[order[:-1]]
    if not tied.any():
        return order
    stretches = np.cumsum(np.append(True, ~tied))
    places = nonzero(np.append(tied, False) | np.append(False, tied))
    rows = order[places]
    taken = [(array.take(pa.array(rows)), key) for array, key in arrays[1:]]
    order[places] = rows[lexsort(stretches[places], taken)]
    return order


def row_numbers(slots: I64) -> I64:
    """Return 1, 2, … within each stretch of equal slots."""
    if len(slots) == 0:
        return slots
    fresh = np.ones(len(slots), dtype=np.bool_)
    np.not_equal(slots[1:], slots[:-1], out=fresh[1:])
    starts = nonzero(fresh)
    numbers: I64 = np.arange(1, len(slots) + 1) - np.repeat(starts, np.diff(np.append(starts, len(slots))))
    return numbers
