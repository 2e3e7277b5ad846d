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

import re
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any

import pyarrow as pa
import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializeAsAny,
    ValidationError,
    field_validator,
    model_validator,
)

from headrace.contracts.schema import Schema
from headrace.errors import DeclarationError, UnknownName
from headrace.named_queries import NamedQuery
from headrace.panels import Panel, Use, ViewPanel, build_panel, declaration_error
from headrace.query_parts import QueryParameter

GRID_COLUMNS = 12
DAY = re.compile(r"\d{4}-\d\d-\d\d|today(\s*-\s*\d+d)?")
PANELS_MAX = 100
"""More panels than this are a mistake, and no browser's joy."""


class Parameter(BaseModel):
    """Something that a reader of the page chooses; its value goes to every named query that asks for it.

    One that is called `as_of` goes to all: a version, or a time, at which everything is read as it was.
    The choice stands in the page's address (`?merchant=m_1`), so that it can be sent to somebody.

    Attributes:
        name: as the queries call it.
        label: what it is called on the page; empty: the name.
        view: the view or named query whose rows are the choices.
        value: the column that holds the value.
        text: the column that is shown; None: the value.
        choices: instead of `view`: the values, or pairs of value and text; with neither, those that a named
            query of the page declares, or it is typed in.
        default: the value where the address has none; None: the first choice. Of a day also `today` (in UTC)
            and days counted from it, as in `today - 90d`.
        is_date: it is a day.
        is_moment: it is a version, or a time at which one was in force; it is typed in, and what is neither
            is told at its field. `as_of` always is one.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,63}$")]
    label: str = ""
    view: str | None = None
    value: str | None = None
    text: str | None = None
    choices: Sequence[str | tuple[str, str]] = ()
    default: str | None = None
    is_date: bool = False
    is_moment: bool = False

    @model_validator(mode="after")
    def _one_source(self) -> Parameter:
        if self.view is not None and self.choices:
            raise ValueError("a parameter has either choices or a view, not both")
        if (self.view is None) != (self.value is None):
            raise ValueError("view and value belong together: the view, and the column of its values")
        if self.is_date and self.default and not DAY.fullmatch(self.default):
            raise ValueError("the default of a day is a date, `today`, or `today - 90d`")
        if self.is_moment and (self.view is not None or self.choices or self.is_date):
            raise ValueError("a moment is typed in: it has no choices and is no day")
        return self

    def uses(self) -> Iterator[Use]:
        """Name every column that the choices are read from."""
        if self.view is not None:
            for field, column in (("value", self.value), ("text", self.text)):
                if column is not None:
                    yield Use(field, self.view, column)


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
        parameters: what a reader chooses at the top of the page.
        tabs: names of the dashboards that this one belongs with, for a row of links; choices go along.
        live: named queries are asked again as versions are published; False: when the page is opened, and
            when a choice changes, for what is dear to answer.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$")]
    title: str = ""
    description: str = ""
    panels: Annotated[list[SerializeAsAny[Panel]], Field(min_length=1, max_length=PANELS_MAX)]
    columns: int = Field(default=GRID_COLUMNS, ge=1, le=24)
    fit: bool = True
    parameters: Sequence[Parameter] = ()
    tabs: Sequence[str] = ()
    live: bool = True

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
        """The views and named queries that the page reads, each once."""
        chosen = [one.view for one in self.parameters if one.view is not None]
        return tuple(dict.fromkeys([*chosen, *(view for panel in self.panels for view in panel.views)]))


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


def check(
    dashboard: Dashboard, schemas: Mapping[str, Schema], queries: Mapping[str, NamedQuery] | None = None
) -> None:
    """Compare a dashboard with the views that exist.

    Args:
        dashboard: what is declared.
        schemas: the columns of every readable name, and of every named query.
        queries: the named queries, by name.

    Raises:
        DeclarationError: the first wrong thing, by panel number and field; `details["problems"]` holds all.
    """
    known = {name.lower(): schema for name, schema in schemas.items()}
    asked = {name.lower(): query for name, query in (queries or {}).items()}
    found = [*_problems(dashboard, known), *_unasked(dashboard, asked)]
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
    for parameter in dashboard.parameters:
        where = f"dashboard {dashboard.name!r}: parameter {parameter.name!r}"
        if parameter.view is not None and parameter.view.lower() not in schemas:
            yield _missing_view(parameter.view, schemas, where)
        for use in parameter.uses():
            schema = schemas.get(use.view.lower())
            if schema is not None:
                yield from _column_problem(use, schema, f"{where}, field {use.field!r}")
    for number, panel in enumerate(dashboard.panels, start=1):
        where = f"dashboard {dashboard.name!r}: panel {number}: {panel.label()}"
        width, _ = panel.size
        if width > dashboard.columns:
            yield DeclarationError(
                f"the panel is {width} columns wide, the dashboard has {dashboard.columns}",
                where=f"{where}, field 'width'",
            )
        for view in dict.fromkeys([*panel.views, *(use.view for use in panel.uses())]):
            if view.lower() not in schemas:
                yield _missing_view(view, schemas, where)
        for use in panel.uses():
            schema = schemas.get(use.view.lower())
            if schema is not None:
                yield from _column_problem(use, schema, f"{where}, field {use.field!r}")


def _asked_views(dashboard: Dashboard) -> Iterator[tuple[str, set[str]]]:
    """Yield every view that is read, with the parameters that the panel fixes itself."""
    for parameter in dashboard.parameters:
        if parameter.view is not None:
            yield parameter.view, set()
    for panel in dashboard.panels:
        for view in panel.views:
            yield view, set(panel.params) if isinstance(panel, ViewPanel) and view == panel.view else set()


def with_choices(dashboard: Dashboard, queries: Mapping[str, NamedQuery]) -> Dashboard:
    """Return a page that offers what its queries declare, where it says no choices itself."""
    asked = {name.lower(): query for name, query in queries.items()}
    declared = {
        one.name: one
        for view in reversed(dashboard.views)
        if view.lower() in asked
        for one in asked[view.lower()].parameters
        if one.choices and one.choices_of is None
    }
    return dashboard.model_copy(update={
        "parameters": [
            one if one.choices or one.view or one.is_date or one.is_moment or one.name not in declared
            else _offered(one, declared[one.name])
            for one in dashboard.parameters
        ]
    })  # fmt: skip


def _offered(one: Parameter, declared: QueryParameter) -> Parameter:
    none = [("", "all")] if declared.default is None and not declared.is_required else []
    chosen = declared.default if one.default is None else one.default
    return one.model_copy(update={"choices": [*none, *declared.choices], "default": chosen})


def _value(choice: Any) -> str:
    """Return the value of a choice, as an address has it."""
    return str(choice[0] if isinstance(choice, list | tuple) else choice)


def _unasked(dashboard: Dashboard, queries: Mapping[str, NamedQuery]) -> Iterator[DeclarationError]:
    """Tell which queries want something that the page does not ask for."""
    chosen = {one.name for one in dashboard.parameters}
    choices = {one.name: [_value(choice) for choice in one.choices] for one in dashboard.parameters}
    for view, fixed in _asked_views(dashboard):
        query = queries.get(view.lower())
        for wanted in query.parameters if query else ():
            if wanted.is_required and wanted.name not in chosen | fixed:
                yield DeclarationError(
                    f"the query {view!r} wants ${wanted.name}, which the page does not ask for",
                    where=f"dashboard {dashboard.name!r}",
                    hint=f"declare a parameter {wanted.name!r}, or give it a default in the query",
                )
            offered = [] if wanted.choices_of or wanted.name in fixed else choices.get(wanted.name, [])
            for choice in offered if wanted.choices else ():
                if choice not in ("", *wanted.choices):
                    yield DeclarationError(
                        f"the page offers {choice!r} as {wanted.name!r}, "
                        f"which the query {view!r} does not take",
                        where=f"dashboard {dashboard.name!r}", expected=f"of: {', '.join(wanted.choices)}",
                    )  # fmt: skip
    wanted_names = {one.name for view in dashboard.views if view.lower() in queries
                    for one in queries[view.lower()].parameters}  # fmt: skip
    linked = " ".join(panel.model_dump_json() for panel in dashboard.panels)
    for name in sorted(chosen - wanted_names - {"as_of"}):
        if f"${name}" not in linked and f"{{{name}}}" not in linked:
            yield DeclarationError(
                f"nothing on the page asks for the parameter {name!r}", where=f"dashboard {dashboard.name!r}"
            )


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
