"""How far a change reaches: about how many rows would move, found without moving any.

The changed rows are followed through the circuit with the columns that are passed on as they are. A join is
asked how many rows of its other inputs lie under their keys; filters are taken to keep everything, so that
the answer is rather too large than too small. Where a column is computed, or rows come out of a window, a
rank or the like, the way is lost, and nothing beyond it is counted.

    settings (tenant, weight)  ──▶  join events on tenant: 1,000,000 rows under the changed tenant
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, TypeAlias

import pyarrow as pa

from headrace.engine.duck import quote
from headrace.engine.operators.aggregate import AggregateOperator
from headrace.engine.operators.base import Operator
from headrace.engine.operators.filter import FilterOperator
from headrace.engine.operators.join import JoinOperator
from headrace.engine.operators.match_join import MatchJoinOperator
from headrace.engine.operators.now_filter import NowFilterOperator
from headrace.engine.operators.project import ProjectOperator
from headrace.engine.operators.rename import RenameOperator
from headrace.engine.operators.scan import ScanOperator
from headrace.engine.operators.union_all import UnionAllOperator

if TYPE_CHECKING:
    from headrace.engine.circuit import Circuit

JOINS = (JoinOperator, MatchJoinOperator)
Known: TypeAlias = "pa.RecordBatch | None"
"""Rows that would move, with those of their columns that are known; None: none, or nothing is known."""


def reach(circuit: Circuit, moved: Mapping[str, Known], rows_max: int) -> tuple[int, Known]:
    """Return how many rows the joins of a circuit would give, and the rows that the view would change by.

    Args:
        circuit: of a view; it is only read.
        moved: per relation or view in lower case, the rows that change.
        rows_max: it is counted no further than beyond this many.
    """
    outputs: list[Known] = []
    rows = 0
    for stage in circuit.stages:
        if stage.relation is not None:
            inputs: list[Known] = [moved.get(stage.relation)]
        else:
            inputs = [outputs[at] for at in stage.inputs]
        found, output = _through(stage.operator, inputs, rows_max - rows)
        rows += found
        if rows > rows_max:
            return rows, None
        outputs.append(output)
    return rows, outputs[circuit.root_number]


def _through(operator: Operator, inputs: Sequence[Known], rows_max: int) -> tuple[int, Known]:
    if all(one is None or one.num_rows == 0 for one in inputs):
        return 0, None
    if isinstance(operator, JOINS):
        return operator.reach(inputs, rows_max)
    if isinstance(operator, UnionAllOperator):
        return 0, _united([_renamed(operator, one) for one in inputs])
    only = inputs[0]
    if only is None or len(inputs) != 1:
        return 0, None
    return 0, _alone(operator, only)


def _alone(operator: Operator, rows: pa.RecordBatch) -> Known:
    if isinstance(operator, ScanOperator):
        names = {name.lower(): name for name in rows.schema.names}
        pairs = zip(operator.columns, operator.schema.names, strict=True)
        found = _picked(rows, {new: names[old.lower()] for old, new in pairs if old.lower() in names})
        return None if found is None else _fitted(found, operator)
    if isinstance(operator, FilterOperator | NowFilterOperator):
        return rows
    if isinstance(operator, ProjectOperator):
        plain = {quote(name): name for name in rows.schema.names}
        exprs = zip(operator.exprs, operator.schema.names, strict=True)
        return _picked(rows, {new: plain[expr.sql] for expr, new in exprs if expr.sql in plain})
    if isinstance(operator, RenameOperator):
        names = dict(zip(operator.names_below, operator.schema.names, strict=True))
        return _picked(rows, {names[name]: name for name in rows.schema.names if name in names})
    if isinstance(operator, AggregateOperator):
        keys = {key: key for key in operator.keys if key in rows.schema.names}
        return _picked(rows, keys) if len(keys) == len(operator.keys) else None
    return None


def _picked(rows: pa.RecordBatch, columns: Mapping[str, str]) -> Known:
    """Return columns under new names; None where none of them is known."""
    if not columns:
        return None
    return pa.RecordBatch.from_arrays([rows.column(old) for old in columns.values()], names=list(columns))


def _fitted(rows: pa.RecordBatch, operator: Operator) -> pa.RecordBatch:
    columns = [rows.column(name).cast(operator.arrow.field(name).type) for name in rows.schema.names]
    return pa.RecordBatch.from_arrays(columns, names=rows.schema.names)


def _renamed(operator: Operator, rows: Known) -> Known:
    if rows is None or rows.num_columns != len(operator.schema.names):
        return None
    return pa.RecordBatch.from_arrays(rows.columns, names=operator.schema.names)


def _united(parts: Sequence[Known]) -> Known:
    known = [part for part in parts if part is not None]
    if not known:
        return None
    table = pa.concat_tables([pa.Table.from_batches([part]) for part in known], promote_options="permissive")
    return table.combine_chunks().to_batches()[0]
