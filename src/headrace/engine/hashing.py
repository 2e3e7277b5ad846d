"""A stable 64-bit hash of rows, computed column-wise.

The finaliser is that of SplitMix64 (Steele, Lea and Flood, OOPSLA 2014). Hashes only ever choose where to
look; equality is decided on real values. They are the same in every process, so that runs can be kept on
disk.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import cast

import numpy as np
import pyarrow as pa

from headrace.engine.columns import U64, Fixed, Text, View, nonzero, views
from headrace.engine.levels import parts_of, side_by_side

_ONE = np.uint64(0xBF58476D1CE4E5B9)
_TWO = np.uint64(0x94D049BB133111EB)
_STEP = np.uint64(0x9E3779B97F4A7C15)
_NULL = np.uint64(0xA0761D6478BD642F)
_SHIFTS = (np.uint64(30), np.uint64(27), np.uint64(31))
_mask: list[np.uint64] = [np.uint64(2**64 - 1)]
_FEW = 8
"""The hashes of so few rows are worked out with Python's integers: that costs less than NumPy's calls."""
_ALL, _PLAIN_ONE, _PLAIN_TWO = 2**64 - 1, int(_ONE), int(_TWO)
_PLAIN_STEP, _PLAIN_NULL = int(_STEP), int(_NULL)


@contextmanager
def truncated_hashes(bits: int) -> Iterator[None]:
    """Keep only the lowest bits of every hash inside the block: forces collisions, for tests."""
    before = _mask[0]
    _mask[0] = np.uint64((1 << bits) - 1)
    try:
        yield
    finally:
        _mask[0] = before


def mix(words: U64) -> U64:
    """Return the words scattered over 64 bits, one to one; the argument is left alone."""
    mixed = words >> _SHIFTS[0]
    mixed ^= words
    mixed *= _ONE
    shifted = mixed >> _SHIFTS[1]
    mixed ^= shifted
    mixed *= _TWO
    np.right_shift(mixed, _SHIFTS[2], out=shifted)
    mixed ^= shifted
    return mixed


def hash_views(columns: Sequence[View], count: int) -> U64:
    """Return one hash per row over all columns; equal rows have equal hashes."""
    if count <= _FEW:
        hashes = np.array(_hashes_of_few(columns, count), dtype=np.uint64)
    elif len(parts := parts_of(count)) == 1:
        hashes = _hashed(columns, count)
    else:
        pieces = [[column.part(rows) for column in columns] for rows in parts]
        sizes = [rows.stop - rows.start for rows in parts]
        jobs = [partial(_hashed, *one) for one in zip(pieces, sizes, strict=True)]
        hashes = np.concatenate(side_by_side(jobs, sizes))
        for at, column in enumerate(columns):
            if isinstance(column, Text):
                column.keep([cast(Text, piece[at]) for piece in pieces])
    if _mask[0] != np.uint64(2**64 - 1):
        hashes = hashes & _mask[0]
    return hashes


def _hashed(columns: Sequence[View], count: int) -> U64:
    alike = [isinstance(column, Text) and column.is_one for column in columns]
    ahead = alike.index(False) if False in alike else len(alike)
    one = np.zeros(min(count, 1) if ahead else count, dtype=np.uint64)
    for column in columns[:ahead]:  # these are the same in all rows, and so is what comes of them
        one = _fold(one, column.part(slice(0, len(one))), first=False)
    hashes = np.repeat(one, count) if ahead else one
    for number, column in enumerate(columns[ahead:], ahead):
        hashes = _fold(hashes, column, first=number == 0)
    return hashes


def hash_columns(arrays: Sequence[pa.Array], count: int) -> U64:
    """Return one hash per row as SQL groups: NULL equals NULL, −0.0 equals 0.0, NaN equals NaN."""
    return hash_views(views(arrays, exact=False), count)


def _fold(hashes: U64, column: View, *, first: bool) -> U64:
    if isinstance(column, Fixed):
        for word in column.words:
            hashes = mix(word + _STEP) if first else mix(hashes * _STEP + word)
            first = False
    else:
        hashes = _fold_text(hashes, column)
    if column.valid is not None:
        hashes = np.where(column.valid, hashes, mix(hashes + _NULL))
    return hashes


def _fold_text(hashes: U64, column: Text) -> U64:
    lengths = column.lengths
    hashes = mix(hashes * _STEP + lengths.view(np.uint64) + column.word(0, slice(None)) * _TWO)
    shortest = int(lengths.min())
    step = 1
    while shortest > 8 * step:  # nothing need be picked out
        hashes = mix(hashes * _STEP + column.word(step, slice(None)))
        step += 1
    rows = nonzero(lengths > 8 * step)
    while len(rows):
        hashes[rows] = mix(hashes[rows] * _STEP + column.word(step, rows))
        step += 1
        rows = rows[lengths[rows] > 8 * step]
    return hashes


# --- a few rows: the same hashes, number by number
# ------------------------------------------------------------------------------------------------------


def _hashes_of_few(columns: Sequence[View], count: int) -> list[int]:
    found = [0] * count
    for number, column in enumerate(columns):
        if isinstance(column, Text):
            found = [_text_hash(*one) for one in zip(found, _bytes_of(column), strict=True)]
        else:
            found = _fixed_hashes(found, column, first=number == 0)
        if column.valid is not None:
            pairs = zip(found, column.valid.tolist(), strict=True)
            found = [known if ok else _mixed(known + _PLAIN_NULL) for known, ok in pairs]
    return found


def _mixed(word: int) -> int:
    word &= _ALL
    word = (word ^ (word >> 30)) * _PLAIN_ONE & _ALL
    word = (word ^ (word >> 27)) * _PLAIN_TWO & _ALL
    return word ^ (word >> 31)


def _fixed_hashes(found: list[int], column: Fixed, *, first: bool) -> list[int]:
    for word in column.words:
        values = word.tolist()
        if first:
            found = [_mixed(value + _PLAIN_STEP) for value in values]
        else:
            found = [_mixed(known * _PLAIN_STEP + value) for known, value in zip(found, values, strict=True)]
        first = False
    return found


def _bytes_of(column: Text) -> list[bytes]:
    pairs = zip(column.starts.tolist(), column.lengths.tolist(), strict=True)
    return [column.heap[start : start + length].tobytes() for start, length in pairs]


def _text_hash(known: int, text: bytes) -> int:
    known = _mixed(known * _PLAIN_STEP + len(text) + int.from_bytes(text[:8], "little") * _PLAIN_TWO)
    for at in range(8, len(text), 8):
        known = _mixed(known * _PLAIN_STEP + int.from_bytes(text[at : at + 8], "little"))
    return known
