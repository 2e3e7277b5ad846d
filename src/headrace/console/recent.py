"""What was late or rejected of late, for the page of a stream or table; private columns are masked."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from headrace.console.panel_json import Json, columns_json
from headrace.contracts.schema import Schema
from headrace.errors import HeadraceError

if TYPE_CHECKING:
    from headrace.relations import RelationInfo
from headrace.runtime import Run

RECENT_ROWS = 50
MASK = "•••"
NEWEST_FIRST = {"late": "_watermark", "rejected": "rejected_at"}


def counts_of(run: Run, info: RelationInfo) -> dict[str, int]:
    """Return how many rows of a stream or table were accepted, repeated, late, rejected."""
    counted = run.stats().get("intake", {}) if info.kind in ("stream", "table") else {}
    own = counted.get(info.name, {}) if isinstance(counted, dict) else {}
    return (
        {name: count for name, count in own.items() if isinstance(count, int)}
        if isinstance(own, dict)
        else {}
    )


def side_json(run: Run, label: str, side: RelationInfo, parent: Schema) -> Json:
    """Return the newest rows of a side table.

    Args:
        run: the run.
        label: `late` or `rejected`.
        side: the side table.
        parent: the columns of the stream, which say what is private.
    """
    private = {column.name.lower() for column in parent if column.privacy}
    return {
        "name": side.name,
        "label": label,
        "rows": side.rows,
        "columns": columns_json(side.schema),
        "recent": [_masked(row, private) for row in _newest(run, label, side)] if side.rows else [],
    }


def _newest(run: Run, label: str, side: RelationInfo) -> list[dict[str, Any]]:
    column = NEWEST_FIRST[label]
    order = f'ORDER BY "{column}" DESC' if column in side.schema else ""
    try:
        table = run.query(f'SELECT * FROM "{side.name}" {order} LIMIT {RECENT_ROWS}')
    except HeadraceError:
        return []
    return [{name: _text(value) for name, value in row.items()} for row in table.to_pylist()]


def _text(value: Any) -> Any:
    return value if value is None or isinstance(value, bool | int | str) else str(value)


def _masked(row: dict[str, Any], private: set[str]) -> dict[str, Any]:
    """Hide private values: their own columns, in the JSON of a rejected row, as the offending value."""
    shown = {
        name: MASK if name.lower() in private and value is not None else value for name, value in row.items()
    }
    if private and {"row", "field", "value"} <= shown.keys():
        shown["row"] = _masked_json(shown["row"], private)
        if shown["field"] is None or str(shown["field"]).lower().partition(".")[0] in private:
            shown["value"] = MASK
    return shown


def _masked_json(text: Any, private: set[str]) -> Any:
    try:
        row = json.loads(text)
    except (TypeError, ValueError):
        return MASK
    if not isinstance(row, dict):
        return MASK
    shown = {name: MASK if str(name).lower() in private else value for name, value in row.items()}
    return json.dumps(shown, ensure_ascii=False)
