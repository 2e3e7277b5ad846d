"""PythonCall: the answers of Python functions beside each row.

    Δf(R) = { (row, f(row)) : row in ΔR }, where f(x) is asked for once while some row holds the arguments x

The answer is kept under its arguments and taken back as it was given, so that a function which answers
otherwise the next time does no harm to what was counted or joined with it. For example, f random:

    change        kept              output
    (7) +1        7 → 0.31          (7, 0.31) +1
    (7) +1        7 → 0.31          (7, 0.31) +1
    (7) −2        nothing           (7, 0.31) −2
    (7) +1        7 → 0.84          (7, 0.84) +1

A function that raises, or answers what its type does not hold, puts the view in error until the row goes.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from typing_extensions import override

from headrace.change import Change
from headrace.engine.aggregates.answers import Answers
from headrace.engine.columns import I64, Bools, nonzero, take, views
from headrace.engine.growable import Growable
from headrace.engine.hashing import hash_views
from headrace.engine.key_table import KeyTable
from headrace.engine.monotone import Bounds
from headrace.engine.operators.base import Operator, StepContext
from headrace.engine.operators.quarantine import shown_row
from headrace.engine.sweep import Sweep
from headrace.functions import PythonFunction, WrongAnswer, call
from headrace.sql.plan import FunctionCall, PythonCall


class PythonFunctionOperator(Operator):
    """Adds a column per call."""

    name = "python function"
    rule = "stored answers"

    def __init__(self, node: PythonCall, *, append_only: bool) -> None:
        super().__init__(node.schema, append_only=append_only)
        self._node = node
        self._calls = [_Kept(call, node) for call in node.calls]

    @override
    def step(self, inputs: Sequence[Change], context: StepContext) -> Change:
        change = inputs[0]
        columns = list(change.rows.columns)
        failed = np.zeros(len(change), dtype=np.bool_)
        for kept in self._calls:
            answers, bad = kept.take_in(change)
            columns.append(answers)
            failed |= bad
        output = Change(pa.RecordBatch.from_arrays(columns, schema=self.arrow), change.weights, change.ids)
        return output.filter(~failed) if failed.any() else output

    @override
    def bounds(self, inputs: Sequence[Bounds]) -> Bounds:
        return inputs[0]

    @override
    def forget(self, inputs: Sequence[Bounds]) -> None:
        for kept in self._calls:
            kept.forget()

    @override
    def can_free(self, inputs: Sequence[Bounds]) -> str | None:
        return "frees the answers whose arguments no row holds any more"

    @property
    @override
    def error(self) -> str | None:
        return next((kept.error for kept in self._calls if kept.error), None)

    @property
    @override
    def detail(self) -> str:
        return ", ".join(f"{call.function.name}({', '.join(call.args)})" for call in self._node.calls)

    @property
    @override
    def state_rows(self) -> int:
        return sum(kept.size for kept in self._calls)

    @property
    @override
    def state_bytes(self) -> int:
        return sum(kept.nbytes for kept in self._calls)


class _Kept:
    """The answers of one call, under its arguments."""

    def __init__(self, call: FunctionCall, node: PythonCall) -> None:
        self._call = call
        self._function = call.function
        self._kind = node.schema[call.name].arrow
        self._arguments = KeyTable([node.input.schema[name].arrow for name in call.args])
        self._answers = Answers(pa.schema([("answer", self._kind)]))
        self._weights: Growable[np.int64] = Growable(np.int64)
        self._known: Growable[np.bool_] = Growable(np.bool_)
        self._messages: dict[int, str] = {}
        self._sweep = Sweep()

    def take_in(self, change: Change) -> tuple[pa.Array, Bools]:
        """Return the answer for each row, and for which rows there is none."""
        arguments = change.rows.select(list(self._call.args))
        columns = views(arguments.columns, exact=True)
        entries, _ = self._arguments.find_or_add(columns, hash_views(columns, len(change)))
        for kept in (self._weights, self._known):
            kept.resize(self._arguments.size)
        np.add.at(self._weights.data, entries, change.weights)
        fresh = nonzero(~self._known.data[entries])
        if len(fresh):
            asked, firsts = np.unique(entries[fresh], return_index=True)
            self._ask(asked, take(arguments, fresh[firsts]), take(change.rows, fresh[firsts]))
        found = self._answers.get(entries, self._arguments.size)
        answers = pa.nulls(len(change), self._kind) if found is None else found.column(0)
        failed = np.isin(entries, list(self._messages)) if self._messages else np.zeros(len(change), np.bool_)
        self._leave(np.unique(entries))
        return answers, failed

    def _leave(self, touched: I64) -> None:
        """Forget what no row asks for any more."""
        gone = touched[self._weights.data[touched] == 0]
        self._known.data[gone] = False
        for entry in gone.tolist() if self._messages else ():
            self._messages.pop(entry, None)

    def _ask(self, entries: I64, arguments: pa.RecordBatch, rows: pa.RecordBatch) -> None:
        self._known.data[entries] = True
        parts: list[pa.Array] = []
        for start, length, message in _answered(self._function, arguments, self._kind, parts):
            for at in range(start, start + length):
                row = shown_row(rows, at)
                self._messages[int(entries[at])] = f"{self._function.called}(): {message} (row: {row})"
        answers = pa.record_batch([pa.concat_arrays(parts)], names=["answer"])
        self._answers.put(entries, answers, self._arguments.size)

    @property
    def error(self) -> str | None:
        """What the function did wrong for some row that is there."""
        return next(iter(self._messages.values()), None)

    def forget(self) -> None:
        """Give up arguments that no row holds."""
        if not self._sweep.is_due(self.size):
            return
        entries = nonzero((self._weights.view() == 0) & ~self._arguments.free())
        self._arguments.release(entries)
        self._answers.release(entries)
        self._sweep.done(self.size)

    @property
    def size(self) -> int:
        """Distinct arguments."""
        return self._arguments.live

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return self._arguments.nbytes + self._answers.nbytes + self._weights.nbytes + self._known.nbytes


def _answered(
    function: PythonFunction, rows: pa.RecordBatch, kind: pa.DataType, parts: list[pa.Array], start: int = 0
) -> list[tuple[int, int, str]]:
    """Append the answers for all rows to `parts`; return start, length and message of what failed.

    A batch that fails is halved until the rows at fault stand alone.
    """
    try:
        parts.append(call(function, rows.columns, kind))
    except Exception as error:  # noqa: BLE001 - the function is the user's: anything may happen in it
        if rows.num_rows > 1:
            half = rows.num_rows // 2
            found = _answered(function, rows.slice(0, half), kind, parts, start)
            return found + _answered(function, rows.slice(half), kind, parts, start + half)
        parts.append(pa.nulls(1, kind))
        told = str(error) if isinstance(error, WrongAnswer) else f"{type(error).__name__}: {error}"
        return [(start, 1, told)]
    return []
