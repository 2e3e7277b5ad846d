"""Scalar expressions over a batch: kernels where they are proven equal to DuckDB, one DuckDB statement for
the rest.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from headrace.contracts.schema import Column, Schema
from headrace.engine.answered import ROWS_MAX, Answered, Key
from headrace.engine.columns import Bools
from headrace.engine.duck import Duck, quote
from headrace.engine.kernels.compile import Compiled, compile_expression
from headrace.engine.kernels.vec import Miss, Vec
from headrace.errors import ViewInError
from headrace.sql.plan import Expr


class Expressions:
    """A list of expressions over one input schema, compiled once.

    Args:
        exprs: the expressions.
        source: the columns that they read.
        output: one column per expression, with its name and Arrow type.
    """

    def __init__(self, exprs: Sequence[Expr], source: Schema, output: Schema) -> None:
        self._exprs = tuple(exprs)
        self._source = source
        self._output = output
        self._plain = [_column_name(expr, source) for expr in exprs]
        self._rest = [at for at, name in enumerate(self._plain) if name is None]
        self._kernels: dict[int, Compiled] | None = None
        self._answered: dict[int, Answered] = {}

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what is compiled again at the next batch, and what is only remembered."""
        kept = {name: value for name, value in self.__dict__.items() if name != "_answered"}
        return {**kept, "_kernels": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take over what was written down; nothing is remembered yet."""
        self.__dict__.update(state)
        self._answered = {}

    def _compiled(self, duck: Duck) -> dict[int, Compiled]:
        """Return the expressions that have kernels; compiled at the first batch."""
        if self._kernels is None:
            found = {
                at: compile_expression(self._exprs[at].sql, self._source, self._output.columns[at], duck)
                for at in self._rest
            }
            self._kernels = {at: kernel for at, kernel in found.items() if kernel is not None}
        return self._kernels

    def evaluate(self, rows: pa.RecordBatch, duck: Duck) -> list[pa.Array]:
        """Return one array per expression.

        Raises:
            ViewInError: DuckDB would answer with an error.
        """
        found: list[pa.Array | None] = [None if name is None else rows.column(name) for name in self._plain]
        rest = []
        kernels, loaded = self._compiled(duck), dict[str, Vec]()
        for at in self._rest:
            try:
                found[at] = kernels[at].evaluate(rows, loaded)
            except (KeyError, Miss):
                rest.append(at)
        if rest:
            for at, answer in self._remembered(rows, duck, rest).items():
                found[at] = answer
        return [array for array in found if array is not None]

    def _remembered(self, rows: pa.RecordBatch, duck: Duck, numbers: Sequence[int]) -> dict[int, pa.Array]:
        """Return DuckDB's answers; of few rows those that it has given before, and the others all at once."""
        if not 0 < rows.num_rows <= ROWS_MAX:
            return dict(zip(numbers, self._by_duck(rows, duck, numbers), strict=True))
        found: dict[int, pa.Array] = {}
        keys: dict[int, list[Key]] = {}
        for at in numbers:
            columns = [rows.column(self._source[name].name) for name in self._exprs[at].columns]
            if at not in self._answered:
                self._answered[at] = Answered([column.type for column in columns])
            told = self._answered[at].keys(columns, rows.num_rows)
            if told is not None:
                keys[at] = told
                known = self._answered[at].find(told)
                if known is not None:
                    found[at] = known
        asked = [at for at in numbers if at not in found]
        if asked:
            for at, answer in zip(asked, self._by_duck(rows, duck, asked), strict=True):
                found[at] = answer
                if at in keys:
                    self._answered[at].keep(keys[at], answer)
        return found

    def _by_duck(self, rows: pa.RecordBatch, duck: Duck, numbers: Sequence[int]) -> list[pa.Array]:
        output = Schema.of(self._output.columns[at] for at in numbers)
        if rows.num_rows == 0:
            return [pa.nulls(0, column.arrow) for column in output]
        source, narrowed = self._narrow(rows)
        items = [f"({self._exprs[at].sql}) AS c{at}" for at in numbers]
        return list(duck.select(narrowed, source, items, output).columns)

    def _narrow(self, rows: pa.RecordBatch) -> tuple[Schema, pa.RecordBatch]:
        """Return only the columns that are read, or the first where none is."""
        names = {name for at in self._rest for name in self._exprs[at].columns}
        kept = [column.name for column in self._source if column.name in names]
        if not kept:
            counter = pa.record_batch({"_n": pa.array(np.arange(rows.num_rows))})
            return Schema((Column("_n", "BIGINT", pa.int64()),)), counter
        return self._source.select(kept), rows.select(kept)

    def failing(self, rows: pa.RecordBatch, duck: Duck) -> Bools:
        """Return for which rows some expression fails."""
        source, narrowed = self._narrow(rows)
        tests = [f"(TRY(({self._exprs[at].sql}) IS NULL) IS NULL)" for at in self._rest] or ["false"]
        output = Schema((Column("bad", "BOOLEAN", pa.bool_()),))
        try:
            bad = duck.careful.select(narrowed, source, [" OR ".join(tests)], output).column(0)
        except ViewInError:  # DuckDB allows no error() inside TRY
            return self._failing_by_halves(rows, duck)
        found = np.asarray(bad.to_numpy(zero_copy_only=False), dtype=np.bool_)
        return found if found.any() else self._failing_by_halves(rows, duck)  # TRY misses some

    def _failing_by_halves(self, rows: pa.RecordBatch, duck: Duck) -> Bools:
        """Return for which rows some expression fails, by asking for ever smaller parts."""
        try:
            self._by_duck(rows, duck, self._rest)
        except ViewInError:
            count = rows.num_rows
            if count == 1:
                return np.ones(1, dtype=np.bool_)
            parts = (rows.slice(0, count // 2), rows.slice(count // 2))
            return np.concatenate([self._failing_by_halves(part, duck) for part in parts])
        return np.zeros(rows.num_rows, dtype=np.bool_)

    def first_error(self, rows: pa.RecordBatch, duck: Duck) -> str:
        """Return DuckDB's message for rows of which some fail."""
        try:
            self._by_duck(rows, duck, self._rest)
        except ViewInError as error:
            return error.problem
        return "an expression fails"


def _column_name(expr: Expr, source: Schema) -> str | None:
    """Return the column that an expression is, or None if it computes something."""
    for name in expr.columns:
        if expr.sql.strip() == quote(name):
            return source[name].name
    return None
