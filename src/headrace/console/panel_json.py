"""What the browser is told of a panel: its words parsed, its chart drawn up, nothing left to interpret."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import pyarrow as pa

from headrace.charts import Spec, curve_spec, is_time, spec_of
from headrace.contracts.schema import Column, Schema
from headrace.dashboards import Dashboard, Parameter, is_numeric
from headrace.named_queries import NamedQuery
from headrace.panel_words import (
    Format,
    parse_duration_ms,
    parse_format,
    parse_order,
    parse_thresholds,
    parse_where,
)
from headrace.panels import (
    Bar,
    Cell,
    Fact,
    Form,
    Funnel,
    Line,
    Panel,
    Table,
    Text,
    Tile,
    ViewPanel,
    Waterfall,
)

Json = dict[str, Any]
NAME_OF_A_THING = re.compile(r"(^|_)(id|ids|no|nr|code|year|zip|version|offset)$|[a-z]Id$", re.IGNORECASE)
"""Columns whose numbers are names, not amounts: nobody reads order 1,795,221."""
PLOT_FIELDS = ("x", "y", "series", "value", "labels", "partial", "domain")


def dashboard_json(
    dashboard: Dashboard, schemas: Mapping[str, Schema], queries: Mapping[str, NamedQuery] | None = None
) -> Json:
    """Return a dashboard as its page needs it.

    Args:
        dashboard: what is declared.
        schemas: the columns of every readable name; a panel whose view is missing says so on the page.
        queries: the named queries; what has the name of one is asked for, not followed.
    """
    asked = {name.lower(): query for name, query in (queries or {}).items()}
    known = {name.lower(): schema for name, schema in schemas.items()}
    return {
        "kind": "dashboard",
        "name": dashboard.name,
        "title": dashboard.title or dashboard.name,
        "description": dashboard.description,
        "columns": dashboard.columns,
        "fit": dashboard.fit,
        "live": dashboard.live,
        "panels": [panel_json(panel, known) for panel in dashboard.panels],
        "schemas": schemas_json(dashboard.views, known) | _fixed_schemas(dashboard, known),
        "queries": _queries(dashboard, asked),
        "parameters": [_parameter(one) for one in dashboard.parameters],
    }


def source(panel: ViewPanel) -> str:
    """Return what the page calls the rows that a panel is about: its view, with what it fixes of a query."""
    fixed = "&".join(f"{name}={value}" for name, value in sorted(panel.params.items()))
    return f"{panel.view}?{fixed}" if fixed else panel.view


def _with_params(dashboard: Dashboard) -> list[ViewPanel]:
    return [panel for panel in dashboard.panels if isinstance(panel, ViewPanel) and panel.params]


def _fixed_schemas(dashboard: Dashboard, known: Mapping[str, Schema]) -> Json:
    return {
        source(panel): columns_json(known[panel.view.lower()])
        for panel in _with_params(dashboard)
        if panel.view.lower() in known
    }


def _queries(dashboard: Dashboard, asked: Mapping[str, NamedQuery]) -> Json:
    """Return what is asked for: the query, the parameters that the page has, and those that a panel fixes."""
    wanted: list[tuple[str, str, dict[str, str]]] = [(view, view, {}) for view in dashboard.views]
    wanted += [(source(panel), panel.view, panel.params) for panel in _with_params(dashboard)]
    found: Json = {}
    for name, view, fixed in wanted:
        query = asked.get(view.lower())
        if query is not None:
            names = [one.name for one in query.parameters if one.name not in fixed]
            required = [one.name for one in query.parameters if one.is_required and one.name not in fixed]
            found[name] = {"query": query.name, "names": names, "required": required, "fixed": fixed}
    return found


def _parameter(one: Parameter) -> Json:
    """Return what a reader chooses."""
    return {
        "name": one.name,
        "label": one.label or one.name,
        "view": one.view,
        "value": one.value,
        "text": one.text or one.value,
        "choices": [pair(choice) for choice in one.choices],
        "default": one.default,
        "is_date": one.is_date,
        "is_moment": one.is_moment or one.name == "as_of",
    }


def pair(choice: Any) -> list[Any]:
    """Return a choice as value and text."""
    return list(choice) if isinstance(choice, list | tuple) else [choice, str(choice)]


def schemas_json(views: tuple[str, ...], known: Mapping[str, Schema]) -> Json:
    """Return the columns of views: name, SQL type and how the browser treats the values."""
    return {view: columns_json(known[view.lower()]) for view in views if view.lower() in known}


def columns_json(schema: Schema) -> list[Json]:
    """Return the columns of one schema."""
    return [
        {"name": one.name, "type": one.sql_type, "kind": kind_of(one), "format": own_format(one)}
        for one in schema
    ]


def own_format(column: Column) -> Json | None:
    """Return how a column is shown where nobody says: numbers that are names have no separators."""
    is_name = kind_of(column) == "number" and NAME_OF_A_THING.search(column.name)
    return {"kind": "text"} if is_name else None


def kind_of(column: Column) -> str:
    """Return how the browser treats a column: number, time, date, bool, text or json (nested)."""
    kind = column.arrow
    if is_numeric(kind):
        return "number"
    if pa.types.is_date(kind):
        return "date"
    if is_time(kind):
        return "time"
    if pa.types.is_boolean(kind):
        return "bool"
    return "json" if pa.types.is_nested(kind) else "text"


def panel_json(panel: Panel, known: Mapping[str, Schema]) -> Json:
    """Return one panel; `problem` tells why it cannot be shown, where it cannot."""
    width, height = panel.size
    told: Json = {"type": panel.type, "title": panel.title, "help": panel.help, "w": width, "h": height,
                  "link": panel.link}  # fmt: skip
    if isinstance(panel, Text):
        return told | {"text": panel.text}
    assert isinstance(panel, ViewPanel)
    views = [source(panel) if view == panel.view else view for view in panel.views]
    told |= {"view": source(panel), "views": views, "stamp": panel.stamp, "problem": _problem(panel, known)}
    told |= {"empty": panel.empty, "reason": panel.reason, "export": panel.export, "open": panel.open}
    told["title"] = panel.title or panel.view
    if told["problem"] is None:
        told |= _words(panel) | _own(panel, known)
    return told


def _problem(panel: ViewPanel, known: Mapping[str, Schema]) -> str | None:
    for view in dict.fromkeys([*panel.views, *(use.view for use in panel.uses())]):
        if view.lower() not in known:
            return f"there is no view named {view!r}"
    for use in panel.uses():
        if use.column not in known[use.view.lower()]:
            return f"the view {use.view!r} has no column {use.column!r}"
    return None


def _words(panel: ViewPanel) -> Json:
    return {
        "where": where_json(panel.where),
        "order": [asdict(one) for one in parse_order(panel.order)] if panel.order else [],
        "limit": panel.limit,
        "window_ms": parse_duration_ms(panel.window) if panel.window else None,
        "format": format_json(panel.format),
        "thresholds": [asdict(one) for one in parse_thresholds(panel.thresholds)],
    }


def where_json(text: str | None) -> list[Json]:
    """Return a filter as comparisons."""
    return [asdict(one) for one in parse_where(text)] if text else []


def format_json(text: str | None) -> Json | None:
    """Return a format without what it leaves open."""
    return _told(parse_format(text)) if text else None


def _told(shown: Format) -> Json:
    return {name: value for name, value in asdict(shown).items() if value is not None and value is not False}


def _own(panel: ViewPanel, known: Mapping[str, Schema]) -> Json:
    schema = known[panel.view.lower()]
    spec: Spec | None = spec_of(panel, schema)
    if isinstance(panel, Tile):
        return _tile(panel)
    if isinstance(panel, Table):
        return {"cells": [_cell(cell, schema) for cell in panel.cells or _all_cells(schema)]}
    if isinstance(panel, Waterfall):
        bars = [
            {
                "column": step.column,
                "label": step.label or step.column,
                "total": step.total,
                "open": step.open,
            }
            for step in panel.parts
        ]
        return {"spec": spec, "steps": bars, "x": panel.x, "y": panel.y, "total": panel.total}
    if isinstance(panel, Form):
        return _form(panel, known)
    if isinstance(panel, Funnel):
        steps = [{"column": part.column, "label": part.label or part.column} for part in panel.parts]
        return {"spec": spec, "steps": steps, "stage": panel.stage, "value": panel.value}
    fields = {name: getattr(panel, name) for name in PLOT_FIELDS if hasattr(panel, name)}
    if isinstance(fields["y"], str) and panel.type != "heat":
        fields["y"] = [fields["y"]]
    lone = isinstance(panel, Line) and panel.series is None and len(panel.ys) == 1
    ranked = isinstance(panel, Bar) and spec is not None and "layer" in spec
    return fields | {"spec": spec, "newest": lone, "ranked": ranked}


def _tile(panel: Tile) -> Json:
    told: Json = {name: getattr(panel, name) for name in ("value", "rate", "compare", "good")}
    told["facts"] = [_fact(fact, source(panel)) for fact in panel.facts]
    if panel.curve:
        told["curve"] = {
            "view": source(panel) if panel.curve.view == panel.view else panel.curve.view,
            "x": panel.curve.x,
            "y": panel.curve.y,
            "window_ms": parse_duration_ms(panel.curve.window) if panel.curve.window else None,
            "where": where_json(panel.curve.where),
            "spec": curve_spec(panel),
        }
    return told


def _form(panel: Form, known: Mapping[str, Schema]) -> Json:
    table, versions = known[panel.table.lower()], f"{panel.table}__versions"
    fields = [
        {
            "column": field.column,
            "label": field.label or field.column,
            "help": field.help,
            "choices": [pair(choice) for choice in field.choices],
            "fills": field.fills,
        }
        for field in panel.fields
    ]
    actions = [action.model_dump() for action in panel.actions]
    return {
        "table": panel.table,
        "versions": versions if versions.lower() in known else panel.table,
        "columns": list(table.names),
        "fields": fields,
        "actions": actions,
        "by": panel.by,
        "at": panel.at,
    }


def _fact(fact: Fact, view: str) -> Json:
    return {
        "view": fact.view or view,
        "value": fact.value,
        "label": fact.label or fact.value,
        "format": format_json(fact.format),
    }


def _all_cells(schema: Schema) -> tuple[Cell, ...]:
    return tuple(Cell(column=name) for name in schema.names)


def _cell(cell: Cell, schema: Schema) -> Json:
    return {
        "column": cell.column,
        "title": cell.title or cell.column,
        "format": format_json(cell.format) or own_format(schema[cell.column]),
        "bar": cell.bar,
        "grow": cell.grow,
        "optional": cell.optional,
        "levels": cell.levels,
        "thresholds": [asdict(one) for one in parse_thresholds(cell.thresholds)],
        "right": is_numeric(schema[cell.column].arrow),
        "link": cell.link,
    }
