"""Dashboards: pages declared as lists of panels over views, in Python or in YAML beside the views.

    from headrace.dashboards import Dashboard
    from headrace.panels import Bar, Tile

    wall = Dashboard(
        name="wall",
        title="Promotion day",
        panels=[
            Tile(view="gmv", value="gmv", format="money GBP", rate="minute", width=4),
            Bar(view="top_products", x="product", y="revenue", order="revenue DESC", limit=5),
        ],
    )

The same in `dashboards/wall.yaml` (the name is the file's, unless it is given):

    title: Promotion day
    panels:
      - {type: tile, view: gmv, value: gmv, format: money GBP, rate: minute, width: 4}
      - {type: bar, view: top_products, x: product, y: revenue, order: revenue DESC, limit: 5}

`check` compares a dashboard with the views that exist, before anybody opens the page.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any

import pyarrow as pa
import yaml
from pydantic import BaseModel, ConfigDict, Field, SerializeAsAny, ValidationError, field_validator

from headrace.contracts.schema import Schema
from headrace.errors import DeclarationError, UnknownName
from headrace.panels import Panel, Use, build_panel, declaration_error

GRID_COLUMNS = 12
PANELS_MAX = 100
"""More panels than this are a mistake, and no browser's joy."""


class Dashboard(BaseModel):
    """A page of panels.

    Panels are laid out from left to right, then down, on a grid of `columns`; a panel that does not fit the
    rest of a line goes to the next one, and later, smaller panels fill the gap.

    Attributes:
        name: in the page's address: letters, digits, `_` and `-`.
        title: the heading; empty: the name.
        description: what the page is for, one or two sentences (words as in a `Text` panel).
        panels: the panels, or mappings that describe them.
        columns: columns of the grid on a wide screen; on a phone every panel has the full width.
        fit: stretch the rows so that the page fills a wide screen without scrolling.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$")]
    title: str = ""
    description: str = ""
    panels: Annotated[list[SerializeAsAny[Panel]], Field(min_length=1, max_length=PANELS_MAX)]
    columns: int = Field(default=GRID_COLUMNS, ge=1, le=24)
    fit: bool = True

    def __init__(self, **fields: Any) -> None:
        label = f"dashboard {str(fields['name'])!r}" if fields.get("name") else "dashboard"
        try:
            super().__init__(**fields)
        except ValidationError as error:
            raise declaration_error(error, type(self), label) from None
        except DeclarationError as error:
            raise _within(label, error) from None

    @field_validator("panels", mode="before")
    @classmethod
    def _built(cls, panels: Any) -> Any:
        if not isinstance(panels, list | tuple):
            return panels
        return [_numbered(number, panel) for number, panel in enumerate(panels, start=1)]

    @property
    def views(self) -> tuple[str, ...]:
        """The views that the page reads, each once."""
        return tuple(dict.fromkeys(view for panel in self.panels for view in panel.views))


def _numbered(number: int, fields: Any) -> Panel:
    try:
        return build_panel(fields)
    except DeclarationError as error:
        raise _within(f"panel {number}", error) from None


def _within(place: str, error: DeclarationError) -> DeclarationError:
    where = f"{place}: {error.where}" if error.where else place
    return DeclarationError(
        error.problem, where=where, expected=error.expected, hint=error.hint, **error.details
    )


def load_dashboard(path: str | Path) -> Dashboard:
    """Read one dashboard from a YAML file.

    Raises:
        DeclarationError: naming file, panel number and field.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DeclarationError(f"the file cannot be read: {error}", where=str(path)) from None
    try:
        fields = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise DeclarationError(f"the file is not YAML: {error}", where=str(path)) from None
    if not isinstance(fields, dict):
        raise DeclarationError(
            "the file holds no mapping", where=str(path), expected="title: … and panels: [ … ]"
        )
    try:
        return Dashboard(**({"name": path.stem} | {str(name): value for name, value in fields.items()}))
    except DeclarationError as error:
        raise _within(str(path), error) from None


def load_dashboards(folder: str | Path) -> list[Dashboard]:
    """Read every `.yaml` and `.yml` file of a folder, in order of name; names must differ."""
    files = sorted(file for file in Path(folder).glob("*.y*ml") if file.suffix in (".yaml", ".yml"))
    found: dict[str, Dashboard] = {}
    for file in files:
        dashboard = load_dashboard(file)
        if dashboard.name in found:
            raise DeclarationError(f"there are two dashboards named {dashboard.name!r}", where=str(file))
        found[dashboard.name] = dashboard
    return list(found.values())


def check(dashboard: Dashboard, schemas: Mapping[str, Schema]) -> None:
    """Compare a dashboard with the views that exist.

    Args:
        dashboard: what is declared.
        schemas: the columns of every readable name.

    Raises:
        DeclarationError: the first wrong thing, by panel number and field; `details["problems"]` holds all.
    """
    found = list(_problems(dashboard, {name.lower(): schema for name, schema in schemas.items()}))
    if not found:
        return
    first = found[0]
    more = f" (and {len(found) - 1} more in this dashboard)" if len(found) > 1 else ""
    raise DeclarationError(
        first.problem + more,
        where=first.where,
        expected=first.expected,
        hint=first.hint,
        problems=[problem.render() for problem in found],
    )


def _problems(dashboard: Dashboard, schemas: Mapping[str, Schema]) -> Iterator[DeclarationError]:
    for number, panel in enumerate(dashboard.panels, start=1):
        where = f"dashboard {dashboard.name!r}: panel {number}: {panel.label()}"
        width, _ = panel.size
        if width > dashboard.columns:
            yield DeclarationError(
                f"the panel is {width} columns wide, the dashboard has {dashboard.columns}",
                where=f"{where}, field 'width'",
            )
        for view in panel.views:
            if view.lower() not in schemas:
                yield _missing_view(view, schemas, where)
        for use in panel.uses():
            schema = schemas.get(use.view.lower())
            if schema is not None:
                yield from _column_problem(use, schema, f"{where}, field {use.field!r}")


def _missing_view(view: str, schemas: Mapping[str, Schema], where: str) -> DeclarationError:
    unknown = UnknownName.of("view", view, schemas)
    return DeclarationError(
        unknown.problem, where=f"{where}, field 'view'", expected=unknown.expected, hint=unknown.hint
    )


def _column_problem(use: Use, schema: Schema, where: str) -> Iterator[DeclarationError]:
    if use.column not in schema:
        close = get_close_matches(use.column, schema.names, n=1, cutoff=0.6)
        yield DeclarationError(
            f"the view {use.view!r} has no column {use.column!r}",
            where=where,
            expected=f"one of: {', '.join(schema.names)}",
            hint=f"did you mean {close[0]!r}?" if close else None,
        )
    elif use.numeric and not is_numeric(schema[use.column].arrow):
        column = schema[use.column]
        yield DeclarationError(
            f"the column {use.column!r} of {use.view!r} is {column.sql_type}",
            where=where,
            expected="a column of numbers",
        )


def is_numeric(kind: pa.DataType) -> bool:
    """Tell whether values of an Arrow type can be drawn as numbers."""
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind))
