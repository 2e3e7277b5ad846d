"""Arrow columns as NumPy words: the one place that reads Arrow buffers.

Every column type is seen as one of two shapes: *fixed*, one or two uint64 words per row, or *text*, bytes
with a start and a length per row. Types that are neither (lists, structs, maps) are first written as
canonical text.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import cache, partial
from threading import Lock
from typing import Any, Protocol, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from headrace.engine.levels import COPIED_ROWS, parts_of, side_by_side
from headrace.engine.normal import group_keys as group_keys

U64 = npt.NDArray[np.uint64]
I64 = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

_NAN = np.uint64(0x7FF8000000000000)
_WIDTHS: dict[int, Any] = {1: np.uint8, 2: np.uint16, 4: np.uint32, 8: np.uint64}
_Made = TypeVar("_Made")
_TAIL_MASKS: U64 = np.array([(1 << (8 * n)) - 1 for n in range(8)] + [2**64 - 1], dtype=np.uint64)
MICROS_PER_DAY = 86_400_000_000
WORDS_KEPT = 4
"""Words of a text that are kept beside it: most keys are no longer."""
ONE_ROWS_MIN = 512
"""Of so many rows it is found out whether all texts are the same."""
_READ_ROWS_MIN, _READ_BYTES_MAX = 1_024, 2**26
"""A step keeps what it read of columns of so many rows at least, up to so many bytes, the last ones."""


@dataclass(frozen=True, slots=True)
class Fixed:
    """A fixed-width column: one or more uint64 words per row; NULL rows hold zeros.

    Attributes:
        words: one array per word, equal values have equal words.
        valid: False where NULL; None when no row is NULL.
    """

    words: tuple[U64, ...]
    valid: Bools | None

    def part(self, rows: slice) -> Fixed:
        """Return some of the rows, which follow each other."""
        valid = None if self.valid is None else self.valid[rows]
        return Fixed(tuple(word[rows] for word in self.words), valid)


@dataclass(frozen=True, slots=True)
class Text:
    """A column of bytes: `heap[starts[i] : starts[i] + lengths[i]]`, the heap padded by eight bytes.

    Attributes:
        heap: the bytes, uint8.
        starts: int64, first byte of each row.
        lengths: int64, zero where NULL.
        valid: False where NULL; None when no row is NULL.
        kept: the first words of all rows, as far as they were asked for: keys are hashed and compared again,
            by several threads, each of which would write the same.
        is_one: whether all rows are known to hold the same bytes, none of them NULL: then one row is read for
            all.
    """

    heap: npt.NDArray[np.uint8]
    starts: I64
    lengths: I64
    valid: Bools | None
    kept: list[U64 | None] = field(default_factory=lambda: [None] * WORDS_KEPT, compare=False, repr=False)
    is_one: bool = field(default=False, compare=False)

    def word(self, step: int, rows: I64 | slice) -> U64:
        """Return bytes `8*step` to `8*step+7` of those rows as little-endian words, zero beyond the end; not
        to be written to.
        """
        if self.is_one:
            count = len(self.starts[rows]) if isinstance(rows, slice) else len(rows)
            return np.broadcast_to(heap_word(self.heap, self.starts[:1], self.lengths[:1], step), count)
        if step < WORDS_KEPT:
            word = self.kept[step]
            if word is None and (isinstance(rows, slice) or 2 * len(rows) >= len(self.starts)):
                word = self.kept[step] = heap_word(self.heap, self.starts, self.lengths, step)
            if word is not None:
                return word[rows]
        return heap_word(self.heap, self.starts[rows], self.lengths[rows], step)

    def part(self, rows: slice) -> Text:
        """Return some of the rows, which follow each other."""
        valid = None if self.valid is None else self.valid[rows]
        kept = [None if word is None else word[rows] for word in self.kept]
        starts = self.starts[rows]
        return Text(self.heap, starts, self.lengths[rows], valid, kept, self.is_one and len(starts) > 0)

    def keep(self, parts: Sequence[Text]) -> None:
        """Keep the words that were asked for of all parts, which make up the column."""
        for step in range(WORDS_KEPT):
            words = [part.kept[step] for part in parts]
            known = [word for word in words if word is not None]
            if self.kept[step] is None and len(known) == len(words):
                self.kept[step] = np.concatenate(known)

    def sizes(self, rows: I64) -> I64:
        """Return how many bytes those rows have; not to be written to."""
        return np.broadcast_to(self.lengths[:1], len(rows)) if self.is_one else self.lengths[rows]


View = Fixed | Text


class Texts(Protocol):
    """Byte strings that are compared word by word."""

    def sizes(self, rows: I64) -> I64:
        """Return how many bytes those rows have."""
        ...

    def word(self, step: int, rows: I64) -> U64:
        """Return their word of that number, zero beyond their ends."""
        ...


def nonzero(flags: npt.NDArray[Any]) -> I64:
    """Return the positions that are true, or not zero."""
    return flags.nonzero()[0]


def heap_word(heap: npt.NDArray[np.uint8], starts: I64, lengths: I64, step: int) -> U64:
    """Return word `step` of each byte string in `heap`, zero beyond its length; the heap is padded by 8
    bytes.
    """
    overlapping: U64 = np.ndarray((len(heap) - 7,), dtype="<u8", buffer=heap, strides=(1,))
    if len(lengths) and lengths.min() >= 8 * step + 8:  # no word reaches beyond its string
        whole: U64 = overlapping[starts + 8 * step if step else starts]
        return whole
    if step == 0:  # no string begins within the padding
        rest, at = np.minimum(lengths, 8), starts
    else:
        rest = np.minimum(np.maximum(lengths - 8 * step, 0), 8)
        at = np.minimum(starts + 8 * step, len(heap) - 8)
    word: U64 = overlapping[at]
    word &= _TAIL_MASKS[rest]
    return word


def is_text(kind: pa.DataType) -> bool:
    """Whether columns of this type are seen as `Text`."""
    return not is_fixed(kind)


def is_fixed(kind: pa.DataType) -> bool:
    """Whether columns of this type are seen as `Fixed`."""
    found = _fixed_ids.get(kind.id)
    if found is None:
        found = _fixed_ids[kind.id] = bool(
            pa.types.is_boolean(kind)
            or pa.types.is_primitive(kind)
            or pa.types.is_decimal(kind)
            or kind == pa.month_day_nano_interval()
            or pa.types.is_null(kind)
        )
    return found


_fixed_ids: dict[int, bool] = {}


def validity(array: pa.Array) -> Bools | None:
    """Return which rows are not NULL, or None when all are not."""
    if array.null_count == 0:
        return None
    if pa.types.is_null(array.type):
        return np.zeros(len(array), dtype=np.bool_)
    return unpack_bits(array.buffers()[0], array.offset, len(array))


def unpack_bits(buffer: pa.Buffer, offset: int, length: int) -> Bools:
    """Return `length` bits of an Arrow bitmap from bit `offset` on."""
    first, last = offset // 8, (offset + length + 7) // 8
    packed = np.frombuffer(buffer, dtype=np.uint8)[first:last]
    skip = offset - 8 * first
    bits = np.unpackbits(packed, count=skip + length, bitorder="little")[skip:]
    return bits.view(np.bool_)


def values(array: pa.Array) -> npt.NDArray[Any]:
    """Return the values of a primitive column without a copy; what stands at NULL rows has no meaning."""
    if pa.types.is_boolean(array.type):
        return unpack_bits(array.buffers()[1], array.offset, len(array))
    dtype = _numpy_type(array.type)
    data = array.buffers()[1]
    if data is None or len(array) == 0:
        return np.zeros(len(array), dtype=dtype)
    taken: npt.NDArray[Any] = np.frombuffer(
        data, dtype=dtype, count=len(array), offset=array.offset * dtype.itemsize
    )
    return taken


@cache
def _numpy_type(kind: pa.DataType) -> np.dtype[Any]:
    if pa.types.is_temporal(kind):
        return np.dtype(np.int32 if kind.bit_width == 32 else np.int64)
    dtype: np.dtype[Any] = np.dtype(kind.to_pandas_dtype())
    return dtype


_US_PER = {"s": 1_000_000, "ms": 1_000, "us": 1}


def micros(raw: I64, kind: pa.DataType) -> I64:
    """Return times of that type, as the integers that stand for them, in microseconds since 1970.

    Dates count from their midnight, nanoseconds are cut; what 64 bits cannot hold stays at their ends.
    """
    if pa.types.is_date(kind):
        scale = MICROS_PER_DAY if kind == pa.date32() else 1_000
    elif kind.unit == "ns":
        return raw // 1000
    else:
        scale = _US_PER[kind.unit]
    if scale == 1:
        return raw
    top = np.int64((2**63 - 1) // scale)
    return np.clip(raw, -top, top) * scale


def view(array: pa.Array, *, exact: bool) -> View:
    """Return a column as words or text, so that equal values have equal words or bytes.

    With `exact`, rows are told apart by bits (but NaN equals NaN); without, as SQL groups them: −0.0 equals
    0.0, and intervals equal by length.
    """
    kind = array.type
    if is_fixed(kind):
        return _fixed(array, exact)
    packed = _packed(array, exact) if pa.types.is_nested(kind) else None
    return _text(_as_bytes(array, exact)) if packed is None else packed


def views(arrays: Sequence[pa.Array], *, exact: bool) -> tuple[View, ...]:
    """Return `view` of every column."""
    return tuple(view(array, exact=exact) for array in arrays)


def _fixed(array: pa.Array, exact: bool) -> Fixed:
    valid = validity(array)
    words = _words(array, exact)
    if valid is not None:
        words = tuple(np.where(valid, word, np.uint64(0)) for word in words)
    return Fixed(words, valid)


def _words(array: pa.Array, exact: bool) -> tuple[U64, ...]:
    kind = array.type
    if pa.types.is_null(kind) or len(array) == 0:
        width = 2 if pa.types.is_decimal(kind) or kind == pa.month_day_nano_interval() else 1
        return tuple(np.zeros(len(array), dtype=np.uint64) for _ in range(width))
    if pa.types.is_boolean(kind):
        return (values(array).astype(np.uint64),)
    if pa.types.is_decimal(kind):
        return _decimal_words(array)
    if kind == pa.month_day_nano_interval():
        return _interval_words(array, exact)
    if pa.types.is_floating(kind):
        return (_float_word(values(array).astype(np.float64), exact),)
    raw = values(array)
    if raw.dtype == np.int64:
        return (raw.view(np.uint64),)
    if raw.dtype == np.uint64:
        return (raw,)
    return (raw.astype(np.int64).view(np.uint64),)


def _float_word(raw: npt.NDArray[np.float64], exact: bool) -> U64:
    nan = np.isnan(raw)
    words: U64 = (raw if exact else raw + 0.0).view(np.uint64)
    return np.where(nan, _NAN, words) if nan.any() else words


def _decimal_words(array: pa.Array) -> tuple[U64, ...]:
    width = array.type.bit_width // 64
    if width == 0:
        array, width = array.cast(pa.decimal128(array.type.precision, array.type.scale)), 2
    raw = np.frombuffer(array.buffers()[1], dtype=np.uint64)
    raw = raw[array.offset * width : (array.offset + len(array)) * width]
    return tuple(np.ascontiguousarray(raw[at::width]) for at in range(width))


def _interval_words(array: pa.Array, exact: bool) -> tuple[U64, ...]:
    raw = np.frombuffer(array.buffers()[1], dtype=np.int64)[
        2 * array.offset : 2 * (array.offset + len(array))
    ]
    halves = raw.reshape(-1, 2)
    first, nanos = halves[:, 0].copy(), halves[:, 1].copy()
    if exact:
        return first.view(np.uint64), nanos.view(np.uint64)
    months = first.view(np.int32).reshape(-1, 2)[:, 0].astype(np.int64)
    days = first.view(np.int32).reshape(-1, 2)[:, 1].astype(np.int64)
    micros = nanos // 1000
    days += micros // MICROS_PER_DAY
    micros %= MICROS_PER_DAY
    months += days // 30
    return (months * 30 + days % 30).view(np.uint64), micros.view(np.uint64)


def _packed(array: pa.Array, exact: bool) -> Text | None:
    """Return lists of fixed-width values as bytes: per element whether it is there, and its words."""
    if not pa.types.is_list(array.type) or not is_fixed(array.type.value_type):
        return None
    offsets = np.asarray(array.offsets).astype(np.int64)
    first, last = int(offsets[0]), int(offsets[-1])
    inner = _fixed(array.values.slice(first, last - first), exact)
    width = 8 * len(inner.words) + 1
    heap = np.zeros((last - first) * width + 8, dtype=np.uint8)
    cells = heap[: (last - first) * width].reshape(-1, width)
    cells[:, 0] = 1 if inner.valid is None else inner.valid
    for at, word in enumerate(inner.words):
        cells[:, 1 + 8 * at : 9 + 8 * at] = np.ascontiguousarray(word).view(np.uint8).reshape(-1, 8)
    valid = validity(array)
    lengths = np.diff(offsets) * width
    if valid is not None:
        lengths = np.where(valid, lengths, 0)
    return Text(heap, (offsets[:-1] - first) * width, lengths, valid)


def _as_bytes(array: pa.Array, exact: bool) -> pa.Array:
    kind = array.type
    if pa.types.is_dictionary(kind):
        return _as_bytes(array.dictionary_decode(), exact)
    if pa.types.is_string(kind) or pa.types.is_binary(kind):
        return array
    if pa.types.is_large_string(kind) or pa.types.is_large_binary(kind):
        return array
    if pa.types.is_string_view(kind):
        return array.cast(pa.large_string())
    if pa.types.is_binary_view(kind) or pa.types.is_fixed_size_binary(kind):
        return array.cast(pa.large_binary())
    try:
        texts = [None if item is None else canonical(item, exact) for item in array.to_pylist()]
    except (OverflowError, ValueError):
        plain = array.view(_without_times(kind))
        texts = [_row_text(array[at], plain[at], exact) for at in range(len(array))]
    return pa.array(texts, pa.string())


def _row_text(item: pa.Scalar, plain: pa.Scalar, exact: bool) -> str | None:
    """Return a nested value as text; one with times that Python does not know as the integers they are."""
    try:
        known = item.as_py()
    except (OverflowError, ValueError):
        return f"!{canonical(plain.as_py(), exact)}"
    return None if known is None else canonical(known, exact)


def ordered_items(array: pa.Array) -> list[Any]:
    """Return nested values in Python, in an order that is DuckDB's.

    Infinite times, those beyond the year 9999 and nanoseconds have no value in Python; where there are such,
    all times of the column are the integers that stand for them, in the same order.
    """
    try:
        found: list[Any] = array.to_pylist()
    except (OverflowError, ValueError):
        found = array.view(_without_times(array.type)).to_pylist()
    return found


def _without_times(kind: pa.DataType) -> pa.DataType:
    """Return the type with integers in place of times, at any depth; columns of both lie alike in memory."""
    if pa.types.is_temporal(kind) and not pa.types.is_interval(kind):
        return pa.int32() if kind.bit_width == 32 else pa.int64()
    if pa.types.is_struct(kind):
        return pa.struct([field.with_type(_without_times(field.type)) for field in kind])
    if pa.types.is_list(kind):
        return pa.list_(kind.value_field.with_type(_without_times(kind.value_type)))
    if pa.types.is_fixed_size_list(kind):
        return pa.list_(kind.value_field.with_type(_without_times(kind.value_type)), kind.list_size)
    if pa.types.is_map(kind):
        return pa.map_(_without_times(kind.key_type), _without_times(kind.item_type))
    return kind


def canonical(item: Any, exact: bool) -> str:
    """Return nested Python values as text that is equal exactly when they are equal."""
    if isinstance(item, dict):
        return "{" + ",".join(f"{key!r}:{canonical(value, exact)}" for key, value in item.items()) + "}"
    if isinstance(item, pa.MonthDayNano) and not exact:
        item = _normal(*item)
    if isinstance(item, list | tuple):
        return "[" + ",".join(canonical(value, exact) for value in item) + "]"
    if isinstance(item, float):
        return repr(item if exact else item + 0.0)
    return repr(item)


def _normal(months: int, days: int, nanos: int) -> tuple[int, int]:
    """Return an interval as days of which a month has 30, and microseconds."""
    days += nanos // (1000 * MICROS_PER_DAY)
    return months * 30 + days, nanos // 1000 % MICROS_PER_DAY


def _text(array: pa.Array) -> Text:
    """Return texts as bytes; those that this step has read already as they were read."""
    texts = _read.get()
    return _as_text(array) if texts is None or len(array) < _READ_ROWS_MIN else texts.of(array)


class TextsRead:
    """Columns of texts that a step has read, with their words: most pass through several operators."""

    def __init__(self) -> None:
        self._held: dict[tuple[int, ...], tuple[pa.Array, Text]] = {}
        self._made: dict[tuple[int, ...], tuple[pa.Array, Any]] = {}
        self._bytes = 0
        self._lock = Lock()

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Have columns be read but once inside the block, as far as there is room."""
        token = _read.set(self)
        try:
            yield
        finally:
            _read.reset(token)

    def of(self, array: pa.Array) -> Text:
        """Return a column as it was read; the array is held, so that no other one takes its place."""
        key = _place_of(array)
        found = self._held.get(key)
        if found is None:
            read = array, _as_text(array)
            with self._lock:
                found = self._held.setdefault(key, read)
                self._bytes += _bytes_read(read[1]) if found is read else 0
                while self._bytes > _READ_BYTES_MAX:
                    self._bytes -= _bytes_read(self._held.pop(next(iter(self._held)))[1])
        return found[1]

    @staticmethod
    def made_of(array: pa.Array, make: Callable[[pa.Array], _Made]) -> _Made:
        """Return what `make` makes of a small column; a step makes it but once. One such function only."""
        texts = _read.get()
        if texts is None:
            return make(array)
        key = _place_of(array)
        found = texts._made.get(key)
        if found is None:
            found = texts._made[key] = array, make(array)
        made: _Made = found[1]
        return made


_read: ContextVar[TextsRead | None] = ContextVar("headrace_engine_texts", default=None)


def _place_of(array: pa.Array) -> tuple[int, ...]:
    """Return what tells a column from all others that are held meanwhile: where it lies in memory."""
    buffers = (0 if buffer is None else buffer.address for buffer in array.buffers())
    return len(array), array.offset, *buffers


def _bytes_read(text: Text) -> int:
    return len(text.heap) + 8 * (2 + WORDS_KEPT) * len(text.starts)


def _as_text(array: pa.Array) -> Text:
    wide = pa.types.is_large_string(array.type) or pa.types.is_large_binary(array.type)
    count = len(array)
    _, offset_buffer, data = array.buffers()
    if count == 0 or offset_buffer is None:
        nothing = np.zeros(count, dtype=np.int64)
        return Text(np.zeros(8, dtype=np.uint8), nothing, nothing, validity(array))
    dtype = np.dtype(np.int64 if wide else np.int32)
    offsets = np.frombuffer(offset_buffer, dtype=dtype, count=count + 1, offset=array.offset * dtype.itemsize)
    offsets = offsets.astype(np.int64)
    first, last = int(offsets[0]), int(offsets[-1])
    heap = np.zeros(last - first + 8, dtype=np.uint8)
    if data is not None and last > first:
        heap[: last - first] = np.frombuffer(data, dtype=np.uint8, count=last - first, offset=first)
    offsets -= first
    lengths = offsets[1:] - offsets[:-1]
    valid = validity(array)
    if valid is not None:
        lengths = np.where(valid, lengths, 0)
    is_one = count >= ONE_ROWS_MIN and valid is None and _is_one(heap[:-8], lengths)
    return Text(heap, offsets[:-1], lengths, valid, is_one=is_one)


def _is_one(heap: npt.NDArray[np.uint8], lengths: I64) -> bool:
    """Whether texts that follow each other in `heap` are all the same: a change of one merchant's settings
    names no other.
    """
    size = int(lengths[0])
    if int(lengths[-1]) != size or len(heap) != size * len(lengths):
        return False
    if not np.array_equal(heap[:size], heap[len(heap) - size :]) or (lengths != size).any():
        return False
    return np.array_equal(heap[size:], heap[: len(heap) - size])


def equal(left: View, left_rows: I64, right: View, right_rows: I64) -> Bools:
    """Return, pair by pair, whether two rows hold the same value; NULL equals NULL."""
    same = _equal_fixed(left, left_rows, right, right_rows) if isinstance(left, Fixed) else None
    if same is None:
        assert isinstance(left, Text)
        assert isinstance(right, Text)
        same = equal_texts(left, left_rows, right, right_rows)
    if left.valid is not None or right.valid is not None:
        same &= _taken(left.valid, left_rows) == _taken(right.valid, right_rows)
    return same


def equal_rows(left: Sequence[View], left_rows: I64, right: Sequence[View], right_rows: I64) -> Bools:
    """Return, pair by pair, whether all columns are equal."""
    same = np.ones(len(left_rows), dtype=np.bool_)
    for one, other in zip(left, right, strict=True):
        same &= equal(one, left_rows, other, right_rows)
    return same


def _taken(valid: Bools | None, rows: I64) -> Bools:
    return np.ones(len(rows), dtype=np.bool_) if valid is None else valid[rows]


def _equal_fixed(left: Fixed, left_rows: I64, right: View, right_rows: I64) -> Bools:
    assert isinstance(right, Fixed)
    same: Bools = left.words[0][left_rows] == right.words[0][right_rows]
    for one, other in zip(left.words[1:], right.words[1:], strict=True):
        same &= one[left_rows] == other[right_rows]
    return same


def equal_texts(left: Texts, left_rows: I64, right: Texts, right_rows: I64) -> Bools:
    """Return, pair by pair, whether two byte strings are equal."""
    if left is right and isinstance(left, Text) and left.is_one:
        return np.ones(len(left_rows), dtype=np.bool_)
    sizes = left.sizes(left_rows)
    same: Bools = sizes == right.sizes(right_rows)
    step, shortest = 0, int(sizes.min()) if same.all() and len(same) else 0
    while shortest > 8 * step:  # nothing need be picked out
        same &= left.word(step, left_rows) == right.word(step, right_rows)
        step += 1
        if not same.all():
            break
    rows = nonzero(same & (sizes > 8 * step))
    if len(rows) < len(same):
        left_rows, right_rows, sizes = left_rows[rows], right_rows[rows], sizes[rows]
    while len(rows):
        alike = left.word(step, left_rows) == right.word(step, right_rows)
        same[rows] = alike
        step += 1
        more = nonzero(alike & (sizes > 8 * step))
        rows, sizes = rows[more], sizes[more]
        left_rows, right_rows = left_rows[more], right_rows[more]
    return same


def take(batch: pa.RecordBatch, rows: I64) -> pa.RecordBatch:
    """Return those rows of a batch."""
    at = pa.array(rows)
    count = min(len(parts_of(len(rows), COPIED_ROWS)), batch.num_columns)
    if count < 2:
        return batch.take(at)
    groups = [list(range(first, batch.num_columns, count)) for first in range(count)]
    jobs = [partial(batch.select(group).take, at) for group in groups]
    columns: list[pa.Array] = [None] * batch.num_columns
    for group, found in zip(groups, side_by_side(jobs, [len(rows)] * count), strict=True):
        for number, column in zip(group, found.columns, strict=True):
            columns[number] = column
    return pa.RecordBatch.from_arrays(columns, schema=batch.schema)
