"""How rows of earlier columns are read as rows of the present ones: renamed, filled in, widened, cut.

The log keeps rows in the columns that they were written in, for ever. A row of any earlier set of columns is
read as one of the present set, column by column: by its name, else by a name that it had before, else as the
value that it got when it was added; what is no column any more is left out. Nothing depends on when a row was
written, so a name that once meant something else is never given out again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import pyarrow as pa

from headrace.change import Change
from headrace.contracts.schema import Column, Schema
from headrace.contracts.types import sql_type

_SIGNED = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT")
_UNSIGNED = ("UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT")
_DIGITS = dict(zip((*_SIGNED, *_UNSIGNED), (3, 5, 10, 19, 3, 5, 10, 20), strict=True))
_OTHERS = {
    ("FLOAT", "DOUBLE"),
    ("DATE", "TIMESTAMP"),
    ("TIMESTAMP_S", "TIMESTAMP"),
    ("TIMESTAMP_MS", "TIMESTAMP"),
}


@dataclass(frozen=True, slots=True)
class Lineage:
    """Where the columns of one relation come from.

    Attributes:
        former: names that a column had before, the newest first, by column.
        filled: what rows from before a column was added have in it, as JSON; NULL where it is not here.
        dropped: SQL types of columns that are no more.
    """

    former: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    filled: Mapping[str, Any] = field(default_factory=dict)
    dropped: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of_facts(cls, facts: Mapping[str, Any]) -> Lineage:
        """Return what `facts` told."""
        former = {name: tuple(names) for name, names in facts.get("former", {}).items()}
        return cls(former, dict(facts.get("filled", {})), dict(facts.get("dropped", {})))

    def facts(self) -> dict[str, Any]:
        """Return it as JSON values."""
        former = {name: list(names) for name, names in self.former.items()}
        return {"former": former, "filled": dict(self.filled), "dropped": dict(self.dropped)}


class Fitting:
    """Reads changes of any age as changes of the present columns.

    Args:
        schemas: the present columns of every relation that has ever had others, by name.
        lineages: where they come from, by name.
    """

    def __init__(self, schemas: Mapping[str, Schema], lineages: Mapping[str, Lineage]) -> None:
        self._schemas = {name: schemas[name] for name in schemas if name in lineages}
        self._arrow = {name: schema.arrow for name, schema in self._schemas.items()}
        self._lineages = dict(lineages)

    def __contains__(self, relation: object) -> bool:
        return relation in self._arrow

    def __call__(self, relation: str, change: Change) -> Change:
        """Return a change of a relation in its present columns; those of other relations as they are."""
        wanted = self._arrow.get(relation)
        if wanted is None or change.schema.equals(wanted):
            return change
        return Change(self.rows(relation, change.rows), change.weights, change.ids)

    def rows(self, relation: str, rows: pa.RecordBatch) -> pa.RecordBatch:
        """Return rows of a relation in its present columns."""
        lineage = self._lineages[relation]
        columns = [_column(rows, column, lineage) for column in self._schemas[relation]]
        return pa.RecordBatch.from_arrays(columns, schema=self._arrow[relation])

    def part(self, relation: str, rows: pa.RecordBatch) -> pa.RecordBatch:
        """Return rows that have some of a relation's columns, such as its key, in those as they are now."""
        if relation not in self._schemas:
            return rows
        lineage = self._lineages[relation]
        wanted = [one for one in self._schemas[relation] if _source(rows, one, lineage) is not None]
        columns = [_column(rows, column, lineage) for column in wanted]
        return pa.RecordBatch.from_arrays(columns, schema=Schema.of(wanted).arrow)


NO_FITTING = Fitting(MappingProxyType({}), MappingProxyType({}))
"""Where no relation has ever had other columns."""


def _source(rows: pa.RecordBatch, column: Column, lineage: Lineage) -> str | None:
    names = (column.name, *lineage.former.get(column.name, ()))
    return next((name for name in names if name in rows.schema.names), None)


def _column(rows: pa.RecordBatch, column: Column, lineage: Lineage) -> pa.Array:
    source = _source(rows, column, lineage)
    if source is None:
        return pa.repeat(filled_with(column, lineage.filled.get(column.name)), rows.num_rows)
    found = rows.column(source)
    return found if found.type == column.arrow else found.cast(column.arrow)


def filled_with(column: Column, value: Any) -> pa.Scalar:
    """Return the value that a column has in rows from before it was there."""
    if value is None:
        return pa.scalar(None, column.arrow)
    from headrace.contracts.validate import validate

    return validate(Schema.of([column]), [{column.name: value}]).batch.column(0)[0]


def widens(old: str, new: str) -> bool:
    """Whether every value of one SQL type is one of another, and stays the same."""
    if old == new:
        return True
    for family in (_SIGNED, _UNSIGNED):
        if old in family and new in family:
            return family.index(old) < family.index(new)
    if old in _UNSIGNED and new in _SIGNED:
        return _DIGITS[old] < _DIGITS[new]
    was, becomes = sql_type(old), sql_type(new)
    if becomes.kind == "decimal":
        precision, scale = becomes.arrow.precision, becomes.arrow.scale
        if old in _DIGITS:
            return bool(precision - scale >= _DIGITS[old])
        if was.kind == "decimal":
            whole = was.arrow.precision - was.arrow.scale
            return bool(scale >= was.arrow.scale and precision - scale >= whole)
    return (old, new) in _OTHERS
