"""What the first page tells: every dashboard, view, stream and table, with counts and freshness."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from headrace.console.panel_json import Json
from headrace.console.recent import counts_of
from headrace.dashboards import Dashboard

if TYPE_CHECKING:
    from headrace.relations import RelationInfo
from headrace.runtime import Run


def overview_json(run: Run, dashboards: Sequence[Dashboard]) -> Json:
    """Return names, counts and states; small enough to be asked for every other second."""
    infos = run.relations()
    by_name = {info.name: info for info in infos}
    freshness = run.freshness
    return {
        "app": run.app.name,
        "version": run.version.number,
        "freshness_ms": freshness.freshness_ms,
        "pending_commits": freshness.pending_commits,
        "trouble": None if run.trouble is None else run.trouble.problem,
        "watermarks": {name: at.isoformat() for name, at in run.version.watermarks.items()},
        "dashboards": [
            {"name": one.name, "title": one.title or one.name, "description": one.description}
            for one in dashboards
        ],
        "views": [_view(info) for info in infos if info.kind == "view"],
        "inputs": [_input(run, info, by_name) for info in infos if info.kind in ("stream", "table")],
    }


def _view(info: RelationInfo) -> Json:
    return {"name": info.name, "rows": info.rows, "columns": len(info.schema), "error": info.error}


def _input(run: Run, info: RelationInfo, by_name: dict[str, RelationInfo]) -> Json:
    told: Json = {"name": info.name, "kind": info.kind, "rows": info.rows, "columns": len(info.schema)}
    told["accepted"] = counts_of(run, info).get("accepted")
    for side in ("late", "rejected"):
        found = by_name.get(f"{info.name}__{side}")
        told[side] = found.rows if found else None
    return told
