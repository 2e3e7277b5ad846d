"""BOOL_AND, BOOL_OR, COUNT_IF, BIT_AND, BIT_OR, BIT_XOR: how many values have each bit.

    ones(R + ΔR) = ones(R) + ones(ΔR)        per bit        (linear)

AND: every value has the bit; OR: some value has it; XOR: an odd number of them. Only bits that some value
has had are counted: most words are small, or flags of which few are in use.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from typing_extensions import override

from headrace.contracts.schema import Column
from headrace.engine.aggregates.part import GroupBatch, Part, Result
from headrace.engine.columns import I64, U64, Bools, values
from headrace.engine.growable import Tally
from headrace.sql.plan import AggCall

FUNCTIONS = frozenset({"bool_and", "bool_or", "count_if", "bit_and", "bit_or", "bit_xor"})
"""The aggregates that this part answers."""


def serves(kind: pa.DataType | None) -> bool:
    """Whether values of this type are bits of one word."""
    return kind is not None and bool(pa.types.is_integer(kind) or pa.types.is_boolean(kind))


class BitsPart(Part):
    """One call over booleans or integers up to 64 bits."""

    recycles = True

    def __init__(self, call: AggCall, argument: Column) -> None:
        self._call = call
        self._kind = argument.arrow
        self._counts = Tally()
        self._ones: dict[int, Tally] = {}

    def _resize(self, size: int) -> None:
        for kept in (self._counts, *self._ones.values()):
            kept.resize(size)

    def _ones_of(self, bit: int, size: int) -> Tally:
        """Return how many values of each slot have a bit, counted from now on where it is new."""
        if bit not in self._ones:
            self._ones[bit] = Tally()
            self._ones[bit].resize(size)
        return self._ones[bit]

    @override
    def update(self, batch: GroupBatch) -> None:
        self._resize(batch.size)
        rows, slots, weights = batch.chosen(self._call)
        self._counts.add(slots, weights)
        numbers = values(batch.rows.column(self._call.args[0]))[rows]
        words = numbers if numbers.dtype == np.uint64 else numbers.astype(np.int64).view(np.uint64)
        seen = int(np.bitwise_or.reduce(words))
        for bit in range(seen.bit_length()):
            if seen >> bit & 1:
                has = (words >> np.uint64(bit)) & np.uint64(1) != 0
                self._ones_of(bit, batch.size).add(slots[has], weights[has])

    @override
    def release(self, slots: I64, dead: Bools) -> None:
        for kept in (self._counts, *self._ones.values()):
            kept.clear(slots)

    @override
    def results(self, batch: GroupBatch) -> list[Result]:
        self._resize(batch.size)
        counts = self._counts.at(batch.touched)
        if self._call.func == "count_if":
            ones = self._ones_of(0, batch.size)
            return [Result(pa.array(ones.at(batch.touched), mask=counts == 0))]
        word = np.zeros(len(counts), dtype=np.uint64)
        for bit, ones in self._ones.items():
            count = ones.at(batch.touched)
            if self._call.func.endswith("_xor"):
                is_set = count & 1 != 0
            else:
                is_set = count == counts if self._call.func.endswith("_and") else count > 0
            word |= is_set.astype(np.uint64) << np.uint64(bit)
        return [Result(self._array(word, counts == 0))]

    def _array(self, word: U64, empty: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> pa.Array:
        if pa.types.is_boolean(self._kind):
            return pa.array(word != 0, mask=empty)
        dtype = self._kind.to_pandas_dtype()
        return pa.array(word.astype(np.dtype(f"u{np.dtype(dtype).itemsize}")).view(dtype), mask=empty)

    @property
    @override
    def nbytes(self) -> int:
        return sum(kept.nbytes for kept in (self._counts, *self._ones.values()))
