"""The page that every view, table and stream has without being declared."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa

from headrace.charts import is_time
from headrace.console.panel_json import Json, columns_json, kind_of, own_format, panel_json
from headrace.console.recent import counts_of, side_json
from headrace.contracts.schema import Column, Schema
from headrace.errors import HeadraceError
from headrace.panels import Bar, Line, Panel, Tile

if TYPE_CHECKING:
    from headrace.relations import RelationInfo
from headrace.runtime import Run

ROWS_MAX = 5_000
"""A generated page follows a view of up to so many rows live; of a larger one it asks for the first rows."""


def relation_json(run: Run, info: RelationInfo) -> Json:
    """Return what the page of one relation is told: columns, SQL, EXPLAIN, a chart, side tables."""
    infos = {one.name: one for one in run.relations()}
    chart = auto_panel(info.name, info.schema) if info.kind != "stream" else None
    known = {info.name.lower(): info.schema}
    sides = [(side, infos.get(f"{info.name}__{side}")) for side in ("late", "rejected")]
    return {
        "kind": info.kind,
        "name": info.name,
        "version": run.version.number,
        "columns": columns_json(info.schema),
        "details": [_detail(column) for column in info.schema],
        "key": list(info.key or ()),
        "sql": info.sql,
        "error": info.error,
        "rows": info.rows,
        "rows_max": ROWS_MAX,
        "chart": panel_json(chart, known) if chart else None,
        "explain": _explain(run, info),
        "counts": counts_of(run, info),
        "sides": [side_json(run, label, side, info.schema) for label, side in sides if side is not None],
    }


def _detail(column: Column) -> Json:
    return {
        "name": column.name,
        "type": column.sql_type,
        "nullable": column.nullable,
        "privacy": column.privacy,
    }


def _explain(run: Run, info: RelationInfo) -> str | None:
    if info.kind != "view":
        return None
    try:
        return str(run.explain(info.name))
    except HeadraceError as error:
        return error.render()


def auto_panel(view: str, schema: Schema) -> Panel | None:
    """Choose a chart by the types: numbers over a time, numbers by a text, or one row's numbers as a tile.

    Returns None where nothing suits: no number, or no axis to put it on.
    """
    times = [one.name for one in schema if is_time(one.arrow)]
    texts = [one.name for one in schema if kind_of(one) == "text" or own_format(one) is not None]
    numbers = [one.name for one in schema if kind_of(one) == "number" and one.name not in texts]
    if not numbers:
        return None
    if times:
        x = _time_axis(times)
        if texts:
            return Line(view=view, title=f"{numbers[0]} by {texts[0]}", x=x, y=numbers[0], series=texts[0])
        return Line(view=view, title=_title(numbers), x=x, y=_alike(schema, numbers))
    if texts:
        top = f'"{numbers[0]}" DESC'
        return Bar(
            view=view, title=f"{numbers[0]} by {texts[0]}", x=texts[0], y=numbers[0], order=top, limit=12
        )
    return Tile(view=view, title=numbers[0], value=numbers[0])


def _time_axis(times: list[str]) -> str:
    return next((name for name in times if name.lower() == "window_start"), times[0])


def _title(numbers: list[str]) -> str:
    return ", ".join(numbers[:3])


def _alike(schema: Schema, numbers: list[str]) -> str | list[str]:
    """Return the first number and those of its kind: counts are not drawn on one axis with money."""
    first = _family(schema[numbers[0]].arrow)
    alike = [name for name in numbers if _family(schema[name].arrow) == first][:3]
    return alike[0] if len(alike) == 1 else alike


def _family(kind: Any) -> str:
    if pa.types.is_decimal(kind):
        return "decimal"
    return "integer" if pa.types.is_integer(kind) else "float"
