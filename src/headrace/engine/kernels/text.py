"""Text: lower, upper, length, LIKE, ||, contains, starts_with, split_part."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from headrace.engine.columns import I64, Text, nonzero, validity, view
from headrace.engine.kernels.vec import INT, TEXT, Miss, Vec, from_flags


def _column(part: Vec) -> pa.Array:
    if part.kind != TEXT or not isinstance(part.data, pa.Array):
        raise Miss
    return part.data


def _constant(part: Vec) -> str:
    if part.kind != TEXT or not isinstance(part.data, pa.Scalar) or not part.data.is_valid:
        raise Miss
    return str(part.data.as_py())


def _is_ascii(array: pa.Array) -> bool:
    return _heap(array)[1]


def lower(part: Vec) -> Vec:
    """Return text in lower case; other letters than ASCII are left to DuckDB."""
    array = _column(part)
    if not _is_ascii(array):
        raise Miss
    return Vec(TEXT, pc.ascii_lower(array))


def upper(part: Vec) -> Vec:
    """Return text in upper case; other letters than ASCII are left to DuckDB."""
    array = _column(part)
    if not _is_ascii(array):
        raise Miss
    return Vec(TEXT, pc.ascii_upper(array))


def length(part: Vec) -> Vec:
    """Return the number of characters: of bytes, where all are ASCII."""
    array = _column(part)
    counts = pc.binary_length(array) if _heap(array)[1] else pc.utf8_length(array)
    data = (pc.fill_null(counts, 0) if counts.null_count else counts).to_numpy(zero_copy_only=False)
    return Vec(INT, data.astype(np.int64), validity(counts))


def length_without(part: Vec, piece: Vec) -> Vec:
    """Return `length(replace(part, piece, ''))`; of one ASCII letter, that counts it away."""
    wanted = _constant(piece)
    if len(wanted) != 1 or not wanted.isascii():
        return length(replace(part, piece, Vec(TEXT, pa.scalar(""))))
    array, whole = _column(part), length(part)
    if len(array) == 0:
        return whole
    left = whole.data - _count_of(array, ord(wanted))
    return Vec(INT, left if whole.valid is None else np.where(whole.valid, left, 0), whole.valid)


_ONES = np.uint64(0x0101010101010101)
_TOP = np.uint64(56)
_BELOW = np.array([(1 << (8 * n)) - 1 for n in range(8)], dtype=np.uint64)


def _count_of(array: pa.Array, byte: int) -> I64:
    """Return how often a byte stands in each text: the count before its end less that before its start, where
    counts are kept for each eight bytes (the bytes of a product with 0x0101… add up in its highest one).
    """
    heap, _ = _heap(array)
    marks = np.zeros(len(heap) // 8 * 8 + 8, dtype=np.uint8)
    np.equal(heap, byte, out=marks[: len(heap)].view(np.bool_))
    words = marks.view(np.uint64)
    before = np.zeros(len(words) + 1, dtype=np.int64)
    np.cumsum((words * _ONES) >> _TOP, out=before[1:].view(np.uint64))
    offsets = _offsets(array)
    at = (offsets - offsets[0]).astype(np.int64)
    word = at >> 3
    counts: I64 = before[word] + (((words[word] & _BELOW[at & 7]) * _ONES) >> _TOP).view(np.int64)
    return np.diff(counts)


def _offsets(array: pa.Array) -> npt.NDArray[np.integer]:
    """Return where the texts of a column begin in its bytes, and where the last one ends."""
    is_large = pa.types.is_large_string(array.type)
    dtype = np.dtype(np.int64 if is_large else np.int32)
    found: npt.NDArray[np.integer] = np.frombuffer(
        array.buffers()[1], dtype=dtype, count=len(array) + 1, offset=array.offset * dtype.itemsize
    )
    return found


def _heap(array: pa.Array) -> tuple[npt.NDArray[np.uint8], bool]:
    """Return the bytes of a column of texts without a copy, and whether all are ASCII."""
    data = array.buffers()[2] if len(array) else None
    if data is None:
        return np.empty(0, dtype=np.uint8), True
    offsets = _offsets(array)
    first, last = int(offsets[0]), int(offsets[-1])
    heap = np.frombuffer(data, dtype=np.uint8)[first:last]
    return heap, len(heap) == 0 or bool(heap.view(np.int8).min() >= 0)


def like(part: Vec, pattern: Vec) -> Vec:
    """Return LIKE for a constant pattern of % and literal text."""
    wanted = _constant(pattern)
    array = _column(part)
    if "_" in wanted or "\\" in wanted:
        raise Miss
    pieces = wanted.split("%")
    if len(pieces) == 1:
        return from_flags(pc.equal(array, wanted))
    first, last, middle = pieces[0], pieces[-1], [piece for piece in pieces[1:-1] if piece]
    if len(middle) > 1 or (middle and (first or last)):
        return _ordered(array, wanted)
    if middle:
        return from_flags(pc.match_substring(array, middle[0]))
    if first and last:
        return _ordered(array, wanted)
    if first:
        return from_flags(pc.starts_with(array, first))
    return from_flags(pc.ends_with(array, last))


def _ordered(array: pa.Array, wanted: str) -> Vec:
    return from_flags(pc.match_like(array, wanted))


def contains(part: Vec, piece: Vec) -> Vec:
    """Return whether text holds a constant piece."""
    return from_flags(pc.match_substring(_column(part), _constant(piece)))


def starts_with(part: Vec, piece: Vec) -> Vec:
    """Return whether text starts with a constant piece."""
    return from_flags(pc.starts_with(_column(part), _constant(piece)))


def join(one: Vec, other: Vec) -> Vec:
    """Return `one || other`, NULL where either is."""
    if one.kind != TEXT or other.kind != TEXT:
        raise Miss
    return Vec(TEXT, pc.binary_join_element_wise(one.data, other.data, ""))


def split_part(part: Vec, separator: Vec, index: Vec) -> Vec:
    """Return piece number `index` (from 1) of text split at a constant separator, '' beyond the last."""
    array, cut = _column(part), _constant(separator)
    number = int(index.data) if index.kind == INT and np.ndim(index.data) == 0 else 0
    if number < 1 or not cut or index.valid is not None:
        raise Miss
    if len(cut) == 1 and cut.isascii():
        return Vec(TEXT, _piece(_cuts_of(array, cut), number, array))
    lists = pc.split_pattern(array, cut)
    offsets = np.asarray(lists.offsets)
    at = offsets[:-1] + number - 1
    there = at < offsets[1:]
    pieces = lists.values.take(pa.array(np.where(there, at, 0), mask=~there)) if len(lists.values) else None
    if pieces is None:
        raise Miss
    pieces = pc.fill_null(pieces, "")
    if array.null_count:
        pieces = pc.if_else(array.is_valid(), pieces, pa.scalar(None, pieces.type))
    return Vec(TEXT, pieces)


def _number(part: Vec) -> int:
    if part.kind != INT or np.ndim(part.data) or part.valid is not None:
        raise Miss
    return int(part.data)


def left(part: Vec, count: Vec) -> Vec:
    """Return the first characters, a constant number of them."""
    wanted = _number(count)
    if wanted < 0:
        raise Miss
    return Vec(TEXT, pc.utf8_slice_codeunits(_column(part), 0, wanted))


def substring(part: Vec, start: Vec, size: Vec | None = None) -> Vec:
    """Return the characters from a constant start (from 1) on, at most `size`."""
    first, count = _number(start) - 1, None if size is None else _number(size)
    if first < 0 or (count is not None and count < 0):
        raise Miss
    return Vec(TEXT, pc.utf8_slice_codeunits(_column(part), first, None if count is None else first + count))


def replace(part: Vec, piece: Vec, other: Vec) -> Vec:
    """Return text with every constant piece replaced."""
    if not _constant(piece):
        raise Miss
    return Vec(TEXT, pc.replace_substring(_column(part), _constant(piece), _constant(other)))


def concat(*parts: Vec) -> Vec:
    """Return texts one after the other, NULL as nothing."""
    if any(part.kind != TEXT for part in parts) or not any(isinstance(part.data, pa.Array) for part in parts):
        raise Miss
    pieces = [part.data for part in parts]
    return Vec(TEXT, pc.binary_join_element_wise(*pieces, "", null_handling="replace", null_replacement=""))


@dataclass(frozen=True, slots=True)
class Cuts:
    """Where a separator of one byte stands in a column: `at` in the heap, `first` of each row among them."""

    array: pa.Array
    separator: str
    text: Text
    at: I64
    first: I64


_last_cuts: list[Cuts] = []
"""The column that was cut last: several pieces of one column are usually wanted."""


def _cuts_of(array: pa.Array, separator: str) -> Cuts:
    if _last_cuts and _last_cuts[0].array is array and _last_cuts[0].separator == separator:
        return _last_cuts[0]
    text = view(array, exact=True)
    assert isinstance(text, Text)
    at = nonzero(text.heap[:-8] == ord(separator))
    cuts = Cuts(array, separator, text, at, np.searchsorted(at, text.starts))
    _last_cuts[:] = [cuts]
    return cuts


def _piece(cuts: Cuts, number: int, array: pa.Array) -> pa.Array:
    """Return piece `number` (from 1) of each row, '' beyond the last."""
    starts = cuts.text.starts
    ends = starts + cuts.text.lengths
    padded = np.append(cuts.at, np.iinfo(np.int64).max)

    def separator(place: int) -> I64:
        found: I64 = padded[np.minimum(cuts.first + place, len(cuts.at))]
        return found

    begins = starts if number == 1 else separator(number - 2) + 1
    missing = (begins > ends) | (begins < starts)
    stops = np.minimum(separator(number - 1), ends)
    begins = np.where(missing, stops, begins)
    return text_array(cuts.text.heap, begins, np.maximum(stops - begins, 0), array)


def text_array(heap: npt.NDArray[np.uint8], begins: I64, lengths: I64, like_array: pa.Array) -> pa.Array:
    """Return stretches of a heap as text, NULL where another column is."""
    offsets = np.zeros(len(begins) + 1, dtype=np.int64)
    np.cumsum(lengths, out=offsets[1:])
    at = np.arange(int(offsets[-1]), dtype=np.int64)
    at += np.repeat(begins - offsets[:-1], lengths)
    buffers = [None, pa.py_buffer(offsets.astype(np.int32)), pa.py_buffer(heap[at])]
    whole = pa.Array.from_buffers(pa.string(), len(begins), buffers)
    if like_array.null_count:
        return pc.if_else(like_array.is_valid(), whole, pa.scalar(None, pa.string()))
    return whole
