"""What a running app shows of its streams, tables and views, and small facts about them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

import pyarrow as pa

from headrace.contracts.schema import Schema
from headrace.declarations import StreamDecl, TableDecl
from headrace.results import Freshness, Version
from headrace.sql.plan import Scan, ViewPlan

Rows = Any
"""Dicts, models, or anything with `__arrow_c_stream__` (pyarrow, pandas, polars, duckdb)."""
KEPT_PREFIX = "rows of "
"""Engine name of the kept rows of a table or side table; not a name that a user can write."""
NEW_SUFFIX = "__new"
"""What the name of a view in preparation ends with."""


@dataclass(frozen=True, slots=True)
class Answer:
    """Rows of one version.

    Attributes:
        table: the rows; its SQL types are in `schema`.
        schema: the columns.
        version: what it was read at.
        freshness: how old it is.
        refreshed: of which version each view is that refreshes apart and was read, be it through others.
        history_from: rows that came before it (UTC) may be missing, because a stream's retention let them go;
            None: none has gone.
    """

    table: pa.Table
    schema: Schema
    version: Version
    freshness: Freshness
    refreshed: Mapping[str, Version] = field(default_factory=dict)
    history_from: datetime | None = None


@dataclass(frozen=True, slots=True)
class RelationInfo:
    """One readable name.

    Attributes:
        name: as declared.
        kind: `stream`, `table`, `view` or `side` (late and rejected rows).
        schema: the columns.
        sql: a view's SQL.
        key: columns that identify a row, where known.
        error: why a view has no answer at present.
        rows: rows at the current version; None where they are not counted.
        order: the ORDER BY list of a view's own SQL, as SQL; None where it has none.
        is_logged: its rows are read from the log, as a stream's are; no step keeps them beside it.
    """

    name: str
    kind: str
    schema: Schema
    sql: str | None = None
    key: tuple[str, ...] | None = None
    error: str | None = None
    rows: int | None = None
    order: str | None = None
    is_logged: bool = False


def watched(decl: StreamDecl | TableDecl | None) -> str | None:
    """Return the event-time column of a stream that has a watermark, None for all else."""
    return decl.event_time if isinstance(decl, StreamDecl) and decl.lateness is not None else None


def deletion_schema(decl: TableDecl, rows: Rows) -> Schema:
    """Return the columns that a deletion by key reads: the key; sequence and effective time if given."""
    assert decl.key is not None
    columns = list(decl.schema.select(decl.key))
    for name in (decl.sequence, decl.effective):
        former = [other for other, now in decl.renamed if now == name]
        if name is not None and name not in decl.key and any(has_column(rows, at) for at in (name, *former)):
            column = decl.schema[name]
            columns.append(column if decl.effective is None else replace(column, nullable=True))
    return Schema.of(columns)


def has_column(rows: Rows, name: str) -> bool:
    """Return whether rows, in whichever form they come, have a column of that name."""
    if hasattr(rows, "__arrow_c_schema__") or hasattr(rows, "__arrow_c_stream__"):
        schema = getattr(rows, "schema", None)
        return isinstance(schema, pa.Schema) and name in schema.names
    return isinstance(rows, Sequence) and any(isinstance(row, Mapping) and name in row for row in rows)


def kept_plan(info: RelationInfo) -> ViewPlan:
    """Return the plan of the view that keeps a table's rows for readers."""
    name, schema = info.name.lower(), Schema(tuple(replace(column, nullable=True) for column in info.schema))
    sql = f'SELECT * FROM "{info.name}"'
    root = Scan(schema, name, schema.names)
    return ViewPlan(KEPT_PREFIX + name, sql, sql, root, (name,), unique_key=info.key)


def order_sql(plan: ViewPlan) -> str:
    """Return the ORDER BY list that a view's outermost SQL names."""
    return ", ".join(
        f'"{key.column}" {"DESC" if key.descending else "ASC"} NULLS {"FIRST" if key.nulls_first else "LAST"}'
        for key in plan.order
    )


def view_info(plan: ViewPlan) -> RelationInfo:
    """Return what is known of a view from its plan alone."""
    order = order_sql(plan) or None
    return RelationInfo(plan.name, "view", plan.schema, plan.sql, plan.unique_key, order=order)
